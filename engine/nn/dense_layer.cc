#include "engine/nn/dense_layer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include "engine/nn/activation.h"
#include "engine/nn/bfloat16.h"
#include "engine/nn/onednn.h"

// The kernel is compiled for each of Highway's targets, and the best one is chosen at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/nn/dense_layer.cc"
#include "hwy/foreach_target.h"  // must come before highway.h
// clang-format off
#include "hwy/highway.h"
#include "hwy/contrib/math/math-inl.h"
#include "engine/nn/lanes-inl.h"
#include "engine/nn/tiles-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace astray {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

const hn::ScalableTag<float> kFloats;
using Vector = hn::Vec<decltype(kFloats)>;
constexpr size_t kLanes = HWY_LANES(float);

// A block of R rows x V vectors of outputs stays in registers; the rest is for weights and inputs.
// Sanitizers instrument every piece of it, which takes minutes to compile: they look at a small one. So do processors
// whose vectors Highway does not know.
#ifdef ASTRAY_SANITIZED
constexpr bool kSmall = true;
#else
constexpr bool kSmall = HWY_TARGET == HWY_SCALAR;
#endif
constexpr size_t kAccumulators = kSmall ? 4 : HWY_TARGET <= HWY_AVX3 ? 24 : HWY_TARGET <= HWY_AVX2 ? 12 : 8;
constexpr size_t kMaxRows = kAccumulators / 2;
constexpr size_t kMaxVectors = std::min<size_t>(8, kAccumulators);
// Inputs of one pass over the rows: their weights for two vectors of outputs stay in the first-level cache.
constexpr size_t kPassInputs = 512;
static_assert(kPassInputs % 2 == 0, "pairs of inputs stay together");

constexpr size_t VectorsFor(size_t rows) { return std::min(kMaxVectors, kAccumulators / rows); }
constexpr std::array<size_t, kMaxRows> kVectors = [] {
  std::array<size_t, kMaxRows> vectors;
  for (size_t rows = 1; rows <= kMaxRows; ++rows) vectors[rows - 1] = VectorsFor(rows);
  return vectors;
}();

// Inputs whose weights for an output one element holds: Operands::weights or weight_pairs.
template <typename Weights>
constexpr size_t kInputsIn = std::is_same_v<Weights, float> ? 1 : 2;

// For a vector of outputs, of input `part` of those that the elements hold.
template <size_t part>
HWY_INLINE Vector LoadWeights(const float* from) {
  return hn::LoadU(kFloats, from);
}
template <size_t part>
HWY_INLINE Vector LoadWeights(const uint32_t* from) {
  const hn::RebindToUnsigned<decltype(kFloats)> bits;
  const auto pairs = hn::LoadU(bits, from);
  return hn::BitCast(kFloats, part == 0 ? hn::ShiftLeft<16>(pairs) : hn::And(pairs, hn::Set(bits, 0xffff0000)));
}

// S inputs, again and again.
template <size_t S>
HWY_INLINE Vector SetAll(const float* from) {
  if constexpr (S == 1) {
    return hn::Set(kFloats, *from);
  } else {
    double pair;
    std::memcpy(&pair, from, sizeof(pair));
    return hn::BitCast(kFloats, hn::Set(hn::Repartition<double, decltype(kFloats)>(), pair));
  }
}

// The sums of lanes 0 and 1, 2 and 3, ... of `low`, then those of `high`.
HWY_INLINE Vector AddNeighbours([[maybe_unused]] Vector low, Vector high) {
#if HWY_TARGET == HWY_SCALAR
  return high;  // not called
#else
  return hn::Add(hn::ConcatEven(kFloats, high, low), hn::ConcatOdd(kFloats, high, low));
#endif
}

// Part of the outputs of some groups of rows, over part of the inputs. Each output has S sums, side by side in a
// vector: of every S-th input, from the first, from the second, ...; the bias is part of the first one.
template <typename Weights>
struct Block {
  size_t groups;
  const float* x;
  size_t x_stride;
  size_t inputs;
  const Weights* weights;  // of the first vector and the first input
  size_t weights_stride;   // to the next vector's
  const float* bias;       // null: goes on from what is in y
  float* y;
  size_t y_stride;
  size_t last_count;          // outputs in the last vector
  v1::Activation activation;  // RELU, LEAKY_RELU; others are none
};

// The compiler no longer knows what `value` was made from, so it keeps it in a register as it is.
template <typename T>
HWY_INLINE void HideOrigin(T& value) {
#if HWY_COMPILER_GCC || HWY_COMPILER_CLANG
  asm("" : "+r"(value));
#endif
}

// From a row, or a vector of weights, to the next two of them: distances in registers of their own.
class Strides {
 public:
  explicit Strides(size_t elements) : one_(elements * sizeof(float)), two_(2 * one_) { Keep(); }
  HWY_INLINE void Keep() {
    HideOrigin(one_);
    HideOrigin(two_);
  }
  template <size_t count, typename T>
  HWY_INLINE const T* Reach(const T* from) const {
    static_assert(sizeof(T) == sizeof(float));
    const size_t bytes = count == 0 ? 0 : count == 1 ? one_ : two_;
    return reinterpret_cast<const T*>(reinterpret_cast<const char*>(from) + bytes);
  }

 private:
  size_t one_, two_;
};

// sum += a * b, of one rounding where the processor has that. Spelled out for it because GCC 12 likes to put the sum
// into the register of a factor, and runs out of registers where a loop has many of these.
HWY_INLINE void Accumulate(Vector a, Vector b, Vector& sum) {
#if HWY_ARCH_X86_64 && HWY_TARGET <= HWY_AVX2 && (HWY_COMPILER_GCC || HWY_COMPILER_CLANG)
  asm("vfmadd231ps %2, %1, %0" : "+v"(sum.raw) : "v"(a.raw), "v"(b.raw));
#else
  sum = hn::MulAdd(a, b, sum);
#endif
}

// The same with *b in every lane, which AVX-512 takes from memory by the way.
HWY_INLINE void AccumulateOne(Vector a, const float* b, Vector& sum) {
#if HWY_ARCH_X86_64 && HWY_TARGET <= HWY_AVX3 && (HWY_COMPILER_GCC || HWY_COMPILER_CLANG)
  asm("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(sum.raw) : "v"(a.raw), "m"(*b));
#else
  Accumulate(a, hn::Set(kFloats, *b), sum);
#endif
}

// Loads below are not moved above it.
HWY_INLINE void KeepLoadsBelow() {
#if HWY_COMPILER_GCC || HWY_COMPILER_CLANG
  asm volatile("" ::: "memory");
#endif
}

template <typename Weights, size_t S, size_t R, size_t V>
HWY_INLINE void RunGroup(const Block<Weights>& block, const float* x_rows, float* y) {
  Vector sums[R][V];
  const size_t y_stride = block.y_stride, last_count = block.last_count;
  // Loops that the compiler unrolls take it a fraction of the time that Unrolled does. Those over the inputs are no
  // such ones: GCC 12 would not keep all sums in registers.
  const auto each = [](const auto& body, size_t vectors = V) ASTRAY_INLINE_LAMBDA {
    HWY_UNROLL(24)
    for (size_t r = 0; r < R; ++r) {
      HWY_UNROLL(24)
      for (size_t v = 0; v < vectors; ++v) body(r, v);
    }
  };
  if (S == 2 || block.bias != nullptr) {
    each([&](size_t r, size_t v) ASTRAY_INLINE_LAMBDA { sums[r][v] = hn::LoadU(kFloats, block.bias + v * kLanes); });
  } else {
    each([&](size_t r, size_t v) ASTRAY_INLINE_LAMBDA {
      sums[r][v] = LoadFirst(kFloats, y + r * y_stride + v * kLanes, v + 1 == V ? last_count : kLanes);
    });
  }

  // One pointer for three rows, and for three vectors of weights: the other two are reached by x86's index registers.
  // One for each would not fit into the registers, nor would what a compiler makes of one for all.
  constexpr size_t kPointers = (R + 2) / 3, kWeightPointers = (V + 2) / 3;
  const float* x[kPointers];
  Strides x_strides(block.x_stride);
  Unrolled<kPointers>([&](auto p) ASTRAY_INLINE_LAMBDA { x[p] = x_rows + 3 * p * block.x_stride; });
  const Weights* weights[kWeightPointers];
  Strides weights_strides(block.weights_stride);
  Unrolled<kWeightPointers>([&](auto p)
                                ASTRAY_INLINE_LAMBDA { weights[p] = block.weights + 3 * p * block.weights_stride; });
  const Vector zero = hn::Zero(kFloats);
  constexpr size_t kIn = kInputsIn<Weights>;
  const auto x_of = [&](auto r) ASTRAY_INLINE_LAMBDA { return x_strides.template Reach<r % 3>(x[r / 3]); };
  const auto weights_of = [&](auto v)
                              ASTRAY_INLINE_LAMBDA { return weights_strides.template Reach<v % 3>(weights[v / 3]); };
  const auto step = [&](auto k) ASTRAY_INLINE_LAMBDA {
    // Few rows leave registers for the pairs that the step before has read.
    if constexpr (k % kIn == 0 || R > 2) KeepLoadsBelow();
    const auto weight = [&](auto v)
                            ASTRAY_INLINE_LAMBDA { return LoadWeights<k % kIn>(weights_of(v) + k / kIn * kLanes); };
    const auto input = [&](auto r) ASTRAY_INLINE_LAMBDA { return x_of(r) + S * k; };
    // Whichever are fewer stay in registers for the step.
    if constexpr (V == 1 && S == 1) {
      const Vector w = weight(std::integral_constant<size_t, 0>());
      Unrolled<R>([&](auto r) ASTRAY_INLINE_LAMBDA { AccumulateOne(w, input(r), sums[r][0]); });
    } else if constexpr (V <= R) {
      Vector w[V];
      Unrolled<V>([&](auto v) ASTRAY_INLINE_LAMBDA { w[v] = weight(v); });
      Unrolled<R>([&](auto r) ASTRAY_INLINE_LAMBDA {
        const Vector one = SetAll<S>(input(r));
        Unrolled<V>([&](auto v) ASTRAY_INLINE_LAMBDA { Accumulate(w[v], one, sums[r][v]); });
      });
    } else {
      Vector values[R];
      Unrolled<R>([&](auto r) ASTRAY_INLINE_LAMBDA { values[r] = SetAll<S>(input(r)); });
      Unrolled<V>([&](auto v) ASTRAY_INLINE_LAMBDA {
        const Vector w = weight(v);
        Unrolled<R>([&](auto r) ASTRAY_INLINE_LAMBDA { Accumulate(w, values[r], sums[r][v]); });
      });
    }
  };
  const auto advance = [&](size_t steps) ASTRAY_INLINE_LAMBDA {
    Unrolled<kPointers>([&](auto p) ASTRAY_INLINE_LAMBDA { HideOrigin(x[p] += S * steps); });
    Unrolled<kWeightPointers>([&](auto p) ASTRAY_INLINE_LAMBDA { HideOrigin(weights[p] += steps / kIn * kLanes); });
  };
  // Of narrow vectors a step takes half as long, and the loop's own additions weigh twice as much.
  constexpr size_t kSteps = kSmall ? kIn : HWY_TARGET == HWY_AVX2 ? 8 : 4;
  size_t left = block.inputs / S;
  for (; left >= kSteps; left -= kSteps) {
    x_strides.Keep();
    weights_strides.Keep();
    Unrolled<kSteps>(step);
    advance(kSteps);
  }
  HWY_UNROLL(1)
  for (; left >= kIn; left -= kIn) {
    Unrolled<kIn>(step);
    advance(kIn);
  }
  if constexpr (S == 2) {
    if (block.inputs % 2 == 1) {  // what lies behind the last one is not read
      Unrolled<R>([&](auto r) ASTRAY_INLINE_LAMBDA {
        const Vector last = hn::OddEven(zero, hn::Set(kFloats, *x_of(r)));
        Unrolled<V>([&](auto v) ASTRAY_INLINE_LAMBDA { Accumulate(LoadWeights<0>(weights_of(v)), last, sums[r][v]); });
      });
    }
  } else if (left > 0) {
    step(std::integral_constant<size_t, 0>());
  }

  constexpr size_t kOutputVectors = (V + S - 1) / S;
  if constexpr (S == 2) {
    Unrolled<R>([&](auto r) ASTRAY_INLINE_LAMBDA {
      Unrolled<kOutputVectors>([&](auto v) ASTRAY_INLINE_LAMBDA {
        Vector high = zero;
        if constexpr (2 * v + 1 < V) high = sums[r][2 * v + 1];
        sums[r][v] = AddNeighbours(sums[r][2 * v], high);
      });
    });
  }
  if (block.activation == v1::RELU) {
    each([&](size_t r, size_t v) ASTRAY_INLINE_LAMBDA { sums[r][v] = hn::Max(sums[r][v], zero); }, kOutputVectors);
  } else if (block.activation == v1::LEAKY_RELU) {
    const Vector slope = hn::Set(kFloats, kLeakyReluSlope);
    each(
        [&](size_t r, size_t v) ASTRAY_INLINE_LAMBDA {
          sums[r][v] = hn::IfThenElse(hn::Gt(sums[r][v], zero), sums[r][v], hn::Mul(sums[r][v], slope));
        },
        kOutputVectors);
  }
  const auto store = [&](const auto& store_last) ASTRAY_INLINE_LAMBDA {
    HWY_UNROLL(24)
    for (size_t r = 0; r < R; ++r) {
      HWY_UNROLL(24)
      for (size_t v = 0; v + 1 < kOutputVectors; ++v) hn::StoreU(sums[r][v], kFloats, y + v * kLanes);
      store_last(sums[r][kOutputVectors - 1], y + (kOutputVectors - 1) * kLanes);
      HideOrigin(y += y_stride);
    }
  };
  if (last_count == kLanes) {
    store([](Vector sum, float* to) ASTRAY_INLINE_LAMBDA { hn::StoreU(sum, kFloats, to); });
  } else {
    store([&](Vector sum, float* to) ASTRAY_INLINE_LAMBDA { StoreFirst(kFloats, sum, last_count, to); });
  }
}

template <typename Weights, size_t S, size_t R, size_t V>
void RunBlock(const Block<Weights>& block) {
  const float* x = block.x;
  float* y = block.y;
  for (size_t groups = block.groups; groups > 0; --groups) {
    RunGroup<Weights, S, R, V>(block, x, y);
    x += R * block.x_stride;
    y += R * block.y_stride;
  }
}

template <typename Weights>
using BlockFunction = void (*)(const Block<Weights>& block);
template <typename Weights>
using BlockTable = std::array<std::array<BlockFunction<Weights>, kMaxVectors>, kMaxRows>;  // [rows - 1][vectors - 1]

template <typename Weights, size_t S, size_t R, size_t... V>
constexpr std::array<BlockFunction<Weights>, kMaxVectors> BlocksOf(std::index_sequence<V...> /*up to VectorsFor(R)*/) {
  return {RunBlock<Weights, S, R, V + 1>...};
}

template <typename Weights, size_t S, size_t... R>
constexpr BlockTable<Weights> MakeBlockTable(std::index_sequence<R...> /*up to kMaxRows*/) {
  return {BlocksOf<Weights, S, R + 1>(std::make_index_sequence<VectorsFor(R + 1)>())...};
}

template <typename Weights, size_t S>
constexpr BlockTable<Weights> kBlocks = MakeBlockTable<Weights, S>(std::make_index_sequence<kMaxRows>());

// Sigmoid and tanh of whole rows, after the sums: the same vectors whatever the number of rows.
void ActivateRows(const DenseLayer::Operands& o) {
  for (size_t r = 0; r < o.rows; ++r) {
    float* y = o.y + r * o.y_stride;
    for (size_t j = 0; j < o.outputs; j += kLanes) {
      const size_t count = std::min(kLanes, o.outputs - j);
      const Vector z = LoadFirst(kFloats, y + j, count);
      const Vector one = hn::Set(kFloats, 1.0f);
      const Vector value =
          o.activation == v1::TANH ? hn::Tanh(kFloats, z) : hn::Div(one, hn::Add(one, hn::Exp(kFloats, hn::Neg(z))));
      StoreFirst(kFloats, value, count, y + j);
    }
  }
}

// `whole` in as few parts of at most `most` as can be, as equal as can be.
struct Parts {
  Parts(size_t whole, size_t most) {
    if (whole > most) {  // a division takes as long as a step of a small layer
      count = (whole + most - 1) / most;
      larger = whole % count;
    }
    size = count == 1 ? whole : whole / count;
  }
  size_t operator[](size_t i) const { return size + (i < larger); }
  size_t count = 1, size, larger = 0;
};

template <size_t S, typename Weights>
void RunWith(const Weights* weights, const DenseLayer::Operands& o) {
  constexpr size_t kOutputs = kLanes / S;  // of a vector of weights
  const size_t vectors = (o.outputs + kOutputs - 1) / kOutputs;
  // Three or four vectors are better taken at once by fewer rows than in two parts. So are more where the first-level
  // cache holds all weights, which fewer rows then read more often.
  const size_t at_once = S == 2 ? std::min<size_t>({vectors, 5, kAccumulators}) : vectors <= 4 ? vectors : 0;
  const Parts groups(o.rows, at_once < 3 ? kMaxRows : kAccumulators / at_once);
  const Parts widths(vectors, kVectors[groups[0] - 1]);
  const size_t pass = S == 2 || groups.count == 1 ? o.inputs : kPassInputs;
  constexpr size_t kIn = S * kInputsIn<Weights>;
  const size_t elements = (o.inputs + kIn - 1) / kIn;  // of an output
  Block<Weights> block = {.x_stride = o.x_stride, .weights_stride = elements * kLanes, .y_stride = o.y_stride};
  for (size_t i = 0, output = 0, vector = 0; i < widths.count;
       output += widths[i] * kOutputs, vector += widths[i], ++i) {
    block.last_count = std::min(o.outputs - output, widths[i] * kOutputs) - (widths[i] - 1) / S * kLanes;
    for (size_t k = 0; k < o.inputs; k += pass) {
      block.inputs = std::min(pass, o.inputs - k);
      block.weights = weights + (vector * elements + k / kIn) * kLanes;
      block.bias = k == 0 ? o.bias + vector * kLanes : nullptr;
      block.activation = k + block.inputs == o.inputs ? o.activation : v1::LINEAR;
      const auto run = [&](size_t count, size_t rows, size_t row) ASTRAY_INLINE_LAMBDA {
        block.groups = count;
        block.x = o.x + row * o.x_stride + k;
        block.y = o.y + row * o.y_stride + output;
        kBlocks<Weights, S>[rows - 1][widths[i] - 1](block);
      };
      const size_t first = groups.larger * (groups.size + 1);
      if (groups.larger > 0) run(groups.larger, groups.size + 1, 0);
      run(groups.count - groups.larger, groups.size, first);
    }
  }
}

void RunDense(const DenseLayer::Operands& o) {
  if (o.tiles) {
    RunTiles(o);
#if HWY_TARGET != HWY_SCALAR
  } else if (o.two_sums) {
    RunWith<2>(o.weights, o);
#endif
  } else if (o.weight_pairs != nullptr) {
    RunWith<1>(o.weight_pairs, o);
  } else {
    RunWith<1>(o.weights, o);
  }
  if (o.activation == v1::TANH || o.activation == v1::SIGMOID) ActivateRows(o);
}

size_t Lanes() { return kLanes; }

}  // namespace HWY_NAMESPACE
}  // namespace astray
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace astray {
namespace {

// Half the bytes take half the time to read, but each vector of weights an instruction more. Weights beyond the
// first-level cache are read as pairs for a single row, those that do not fit the second-level cache beside others for
// as many rows as the arithmetic does not hide the reading (docs/decisions/0019).
constexpr size_t kFirstLevelFloats = size_t{1} << 13, kSecondLevelFloats = size_t{1} << 18;
constexpr size_t kMaxPairRows = 16;

// Outputs of two sums need half as many vectors of inputs, and twice as many of weights, which serve half as many
// outputs each. That pays where the last vector of 16 outputs would be half empty or the only one
// (docs/decisions/0013). It is asked of the shape alone, so that a row has the same bits on vectors of any width.
bool HasTwoSums(size_t inputs, size_t outputs) {
  const size_t eights = (outputs + 7) / 8;
  return eights * 8 * inputs <= kFirstLevelFloats && (eights % 2 == 1 || eights == 2);
}

}  // namespace

HWY_EXPORT(RunDense);
HWY_EXPORT(Lanes);
HWY_EXPORT(HasTileCode);

bool DenseLayer::HasTiles() {
  static const bool has_tiles = onednn::MayUseTiles();
  return has_tiles && HWY_DYNAMIC_DISPATCH(HasTileCode)();
}

DenseLayer::DenseLayer(const Network& network, size_t index, bool may_use_tiles)
    : inputs_(network.shape(index).input.size()),
      outputs_(network.shape(index).output.size()),
      activation_(network.shape(index).activation) {
  const bool tied = network.shape(index).tied_to.has_value();  // then [inputs x outputs]
  const float* const parameters = network.parameters().data();
  Pack(parameters + network.offsets(index).weights, tied ? 1 : inputs_, tied ? outputs_ : 1,
       parameters + network.offsets(index).bias, may_use_tiles);
}

DenseLayer::DenseLayer(size_t inputs, std::span<const float> weights, std::span<const float> bias)
    : inputs_(inputs), outputs_(bias.size()), activation_(v1::LINEAR) {
  Pack(weights.data(), inputs, 1, bias.data(), /*may_use_tiles=*/false);
}

void DenseLayer::Pack(const float* weights, size_t output_step, size_t input_step, const float* bias,
                      bool may_use_tiles) {
  const size_t lanes = HWY_DYNAMIC_DISPATCH(Lanes)();
  kernel_ = &HWY_DYNAMIC_DISPATCH(RunDense);  // the target is chosen by the line above
  two_sums_ = lanes > 1 && HasTwoSums(inputs_, outputs_);
  const size_t sums = two_sums_ ? 2 : 1, outputs = lanes / sums;  // of a vector
  const size_t vectors = (outputs_ + outputs - 1) / outputs, steps = (inputs_ + sums - 1) / sums;
  weights_ = AlignedBuffer(vectors * steps * lanes);
  bias_ = AlignedBuffer(vectors * lanes);
  for (size_t j = 0; j < outputs_; ++j) {
    const size_t vector = j / outputs, lane = j % outputs * sums;
    bias_.data()[vector * lanes + lane] = bias[j];
    for (size_t k = 0; k < inputs_; ++k) {
      weights_.data()[(vector * steps + k / sums) * lanes + lane + k % sums] =
          weights[j * output_step + k * input_step];
    }
  }
  if (!two_sums_ && weights_.size() > kFirstLevelFloats && std::ranges::all_of(weights_.span(), IsBfloat16)) {
    tiles_ = may_use_tiles && inputs_ >= kTileInputs;
    PackPairs(lanes);
    if (tiles_) weights_ = AlignedBuffer();
  }
}

void DenseLayer::PackPairs(size_t lanes) {
  pair_rows_ = tiles_ ? SIZE_MAX : weights_.size() > kSecondLevelFloats ? kMaxPairRows : 1;
  const size_t height = tiles_ ? (inputs_ + kTileInputs - 1) / kTileInputs * (kTileInputs / 2) : (inputs_ + 1) / 2;
  weight_pairs_ = hwy::MakeUniqueAlignedArray<uint32_t>(weights_.size() / inputs_ * height);
  if (weight_pairs_ == nullptr) throw std::bad_alloc();
  const float* from = weights_.data();
  for (uint32_t* pairs = weight_pairs_.get(); from != weights_.data() + weights_.size(); pairs += height * lanes) {
    for (size_t k = 0; k < inputs_; ++k) {
      for (size_t lane = 0; lane < lanes; ++lane, ++from) {
        const uint32_t bits = std::bit_cast<uint32_t>(*from);
        pairs[k / 2 * lanes + lane] |= k % 2 == 0 ? bits >> 16 : bits;
      }
    }
  }
}

void DenseLayer::Run(size_t rows, const float* x, size_t x_stride, float* y, size_t y_stride) const {
  if (rows == 0) return;
  kernel_({.inputs = inputs_,
           .outputs = outputs_,
           .activation = activation_,
           .weights = weights_.data(),
           .weight_pairs = rows <= pair_rows_ ? weight_pairs_.get() : nullptr,
           .tiles = tiles_,
           .two_sums = two_sums_,
           .bias = bias_.data(),
           .rows = rows,
           .x = x,
           .x_stride = x_stride,
           .y = y,
           .y_stride = y_stride});
}

}  // namespace astray
#endif  // HWY_ONCE
