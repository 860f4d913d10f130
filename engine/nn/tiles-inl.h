// A dense layer on the tile units (AMX) of x86 processors, for sources that Highway compiles once a target.
//
// A tile is 16 rows of 64 bytes. One instruction multiplies a tile of 16 x 32 bfloat16 numbers by one of 32 x 16 and
// adds the products to a tile of 16 x 16 floats: sixteen times what vectors of floats do in that time. Weights are
// bfloat16 numbers already. An input is a float of 24 significant bits, the sum of three bfloat16 numbers of 8: so a
// row of inputs is taken as three rows of a tile, and nothing is rounded before the sums, which are floats.
//
// Sums are of other pieces in another order than a chain of multiply-adds, so they differ from those in the last bits.
// They do not depend on the number of rows: each row has its own.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "engine/nn/dense_layer.h"

#if defined(ASTRAY_ENGINE_NN_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ASTRAY_ENGINE_NN_TILES_INL_H_
#undef ASTRAY_ENGINE_NN_TILES_INL_H_
#else
#define ASTRAY_ENGINE_NN_TILES_INL_H_
#endif

#include <hwy/highway.h>

#include "engine/nn/activation.h"
#include "engine/nn/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace astray {
namespace HWY_NAMESPACE {

#if HWY_ARCH_X86_64 && HWY_TARGET <= HWY_AVX3
inline bool HasTileCode() { return true; }

namespace tiles {

namespace hn = hwy::HWY_NAMESPACE;

const hn::ScalableTag<float> kFloats;
using Vector = hn::Vec<decltype(kFloats)>;

constexpr size_t kRows = 16, kBytes = 1024;                         // of a tile
constexpr size_t kInputs = DenseLayer::kTileInputs, kOutputs = 16;  // that a tile of weights is for
constexpr size_t kSumFloats = kRows * kOutputs;
constexpr size_t kPieces = 3;  // bfloat16 numbers that a float is the sum of
// Of the processor's 8 tiles the first are for sums, those from this one on for pieces, what is left for weights.
constexpr size_t kTiles = 8, kFirstPieces = 4;
// Rows of a layer that are taken together: their pieces fill as many tiles as there are pieces.
constexpr size_t kGroupRows = kRows;
// Inputs of one pass over a group: their pieces are half of the first-level cache.
constexpr size_t kPassInputs = 256;

// What `ldtilecfg` reads.
struct alignas(64) Configuration {
  uint8_t palette = 1;
  uint8_t unused[15] = {};
  uint16_t bytes_of_a_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {kRows, kRows, kRows, kRows, kRows, kRows, kRows, kRows};
};
static_assert(sizeof(Configuration) == 64);

// Makes this thread's tiles ready. What is in them is lost when that is called again.
HWY_INLINE void Configure(const Configuration& configuration) { asm volatile("ldtilecfg %0" : : "m"(configuration)); }

// The tiles are no longer in use, so that a change of threads need not save them.
HWY_INLINE void Release() { asm volatile("tilerelease" : : : "memory"); }

// By assembly, as GCC 12's own functions neither take a template's constant nor say that they read memory.
template <size_t kTile>
HWY_INLINE void Zero() {
  asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
}
template <size_t kTile>
HWY_INLINE void Load(const uint8_t* from) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(kBytes / kRows), "i"(kTile) : "memory");
}
template <size_t kTile>
HWY_INLINE void Store(float* to) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(kBytes / kRows), "i"(kTile) : "memory");
}
template <size_t kSum, size_t kA, size_t kB>
HWY_INLINE void AddProduct() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kA), "i"(kB));
}

// Writes the pieces of `count` inputs, at most kPassInputs, of some rows as tiles [count / kInputs, rounded up x M]:
// those of row r are rows 3r ... 3r + 2 of the M tiles together. Inputs behind the last are 0.
template <size_t M>
void Split(size_t rows, const float* x, size_t x_stride, size_t count, uint8_t* pieces) {
  const hn::Repartition<uint16_t, decltype(kFloats)> halves;
  const hn::RebindToUnsigned<decltype(kFloats)> bits;
  for (size_t r = 0; r < rows; ++r, x += x_stride) {
    uint8_t* to = pieces + r * kPieces * (kBytes / kRows);
    for (size_t k = 0; k < count; k += kInputs, to += M * kBytes) {
      Vector left[2] = {LoadFirst(kFloats, x + k, count - k),
                        count - k > kInputs / 2 ? LoadFirst(kFloats, x + k + kInputs / 2, count - k - kInputs / 2)
                                                : hn::Zero(kFloats)};
      for (size_t piece = 0; piece < kPieces; ++piece) {
        const auto upper = hn::ConcatOdd(halves, hn::BitCast(halves, left[1]), hn::BitCast(halves, left[0]));
        hn::Store(upper, halves, reinterpret_cast<uint16_t*>(to + piece * (kBytes / kRows)));
        for (Vector& value : left) {
          const Vector taken = hn::BitCast(kFloats, hn::And(hn::BitCast(bits, value), hn::Set(bits, 0xffff0000)));
          // Nothing is left of an infinite value, which would be no number otherwise.
          value = hn::IfThenZeroElse(hn::Eq(hn::Abs(value), hn::Inf(kFloats)), hn::Sub(value, taken));
        }
      }
    }
  }
}

// Part of the inputs of a group of rows.
struct Pass {
  size_t rows;
  const uint8_t* pieces;  // as Split writes them
  size_t tiles;           // of a row of `pieces`: inputs / kInputs, rounded up
  bool first, last;
};

// M tiles of pieces by the weights of N x kOutputs outputs, whose tiles begin `stride` bytes apart, into N x M tiles.
template <size_t M, size_t N>
HWY_INLINE void Multiply(const Pass& pass, const uint8_t* weights, size_t stride, float* sums) {
  static_assert(M * N <= kFirstPieces && kFirstPieces + M < kTiles);
  constexpr size_t kA = kFirstPieces, kB = kA + M, kBs = std::min(N, kTiles - kB);
  Unrolled<M * N>([&](auto i) ASTRAY_INLINE_LAMBDA { Zero<i>(); });
  const uint8_t* pieces = pass.pieces;
  for (size_t k = 0; k < pass.tiles; ++k, pieces += M * kBytes, weights += kBytes) {
    Unrolled<M>([&](auto m) ASTRAY_INLINE_LAMBDA { Load<kA + m>(pieces + m * kBytes); });
    Unrolled<N>([&](auto n) ASTRAY_INLINE_LAMBDA {
      Load<kB + n % kBs>(weights + n * stride);
      Unrolled<M>([&](auto m) ASTRAY_INLINE_LAMBDA { AddProduct<n * M + m, kA + m, kB + n % kBs>(); });
    });
  }
  Unrolled<M * N>([&](auto i) ASTRAY_INLINE_LAMBDA { Store<i>(sums + i * kSumFloats); });
}

// The outputs from `output` on, N x kOutputs of them or what is left, of a group's rows.
template <size_t M, size_t N>
HWY_INLINE void RunOutputs(const DenseLayer::Operands& o, const Pass& pass, const uint8_t* weights, size_t stride,
                           size_t output, float* y) {
  HWY_ALIGN float sums[M * N * kSumFloats];
  Multiply<M, N>(pass, weights, stride, sums);
  const auto finish = [&](auto activate) ASTRAY_INLINE_LAMBDA {
    for (size_t n = 0; n < N; ++n) {
      const size_t j = output + n * kOutputs;
      const float* sum = sums + n * M * kSumFloats;
      float* to = y + j;
      for (size_t r = 0; r < pass.rows; ++r, sum += kPieces * kOutputs, to += o.y_stride) {
        const Vector small = hn::Add(hn::Load(kFloats, sum + kOutputs), hn::Load(kFloats, sum + 2 * kOutputs));
        const Vector before = pass.first ? hn::Load(kFloats, o.bias + j) : LoadFirst(kFloats, to, o.outputs - j);
        StoreFirst(kFloats, activate(hn::Add(before, hn::Add(hn::Load(kFloats, sum), small))), o.outputs - j, to);
      }
    }
  };
  if (pass.last && o.activation == v1::RELU) {
    finish([](Vector sum) ASTRAY_INLINE_LAMBDA { return hn::Max(sum, hn::Zero(kFloats)); });
  } else if (pass.last && o.activation == v1::LEAKY_RELU) {
    finish([](Vector sum) ASTRAY_INLINE_LAMBDA {
      const Vector shrunk = hn::Mul(sum, hn::Set(kFloats, kLeakyReluSlope));
      return hn::IfThenElse(hn::Gt(sum, hn::Zero(kFloats)), sum, shrunk);
    });
  } else {
    finish([](Vector sum) ASTRAY_INLINE_LAMBDA { return sum; });
  }
}

// At most kGroupRows rows from `row` on, whose pieces are M tiles; N x kOutputs outputs at once.
template <size_t M, size_t N>
void RunGroup(const DenseLayer::Operands& o, size_t row, size_t rows) {
  if (row == 0 || rows < kGroupRows) {
    Configuration configuration;
    const size_t last_rows = rows * kPieces - (M - 1) * kRows;  // of the last tile of pieces, and of its sums
    for (size_t i = M - 1; i < kFirstPieces; i += M) configuration.rows[i] = static_cast<uint8_t>(last_rows);
    configuration.rows[kFirstPieces + M - 1] = static_cast<uint8_t>(last_rows);
    Configure(configuration);
  }
  HWY_ALIGN uint8_t pieces[kPassInputs / kInputs * M * kBytes];
  const size_t stride = (o.inputs + kInputs - 1) / kInputs * kBytes;
  float* y = o.y + row * o.y_stride;
  for (size_t k = 0; k < o.inputs; k += kPassInputs) {
    const size_t count = std::min(kPassInputs, o.inputs - k);
    Split<M>(rows, o.x + row * o.x_stride + k, o.x_stride, count, pieces);
    const Pass pass = {.rows = rows,
                       .pieces = pieces,
                       .tiles = (count + kInputs - 1) / kInputs,
                       .first = k == 0,
                       .last = k + count == o.inputs};
    const uint8_t* weights = reinterpret_cast<const uint8_t*>(o.weight_pairs) + k / kInputs * kBytes;
    size_t j = 0;
    for (; j + (N - 1) * kOutputs < o.outputs; j += N * kOutputs, weights += N * stride) {
      RunOutputs<M, N>(o, pass, weights, stride, j, y);
    }
    for (; N > 1 && j < o.outputs; j += kOutputs, weights += stride) {
      RunOutputs<M, 1>(o, pass, weights, stride, j, y);
    }
  }
}

}  // namespace tiles

// Operands::tiles is set. RELU and LEAKY_RELU are applied, no other activation.
HWY_INLINE void RunTiles(const DenseLayer::Operands& o) {
  for (size_t row = 0; row < o.rows; row += tiles::kGroupRows) {
    const size_t rows = std::min(tiles::kGroupRows, o.rows - row);
    const size_t piece_rows = rows * tiles::kPieces;
    if (piece_rows <= tiles::kRows) {
      tiles::RunGroup<1, 4>(o, row, rows);
    } else if (piece_rows <= 2 * tiles::kRows) {
      tiles::RunGroup<2, 2>(o, row, rows);
    } else {
      tiles::RunGroup<3, 1>(o, row, rows);
    }
  }
  tiles::Release();
}
#else
inline bool HasTileCode() { return false; }
HWY_INLINE void RunTiles(const DenseLayer::Operands& /*o*/) {}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace astray
HWY_AFTER_NAMESPACE();

#endif  // ASTRAY_ENGINE_NN_TILES_INL_H_
