// A block of a dense layer, some rows by some vectors of outputs, and a function for each size of it, for sources that
// Highway compiles once a target.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#if defined(ASTRAY_ENGINE_NN_BLOCKS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ASTRAY_ENGINE_NN_BLOCKS_INL_H_
#undef ASTRAY_ENGINE_NN_BLOCKS_INL_H_
#else
#define ASTRAY_ENGINE_NN_BLOCKS_INL_H_
#endif

#include <hwy/highway.h>

#include "astray/v1/network.pb.h"
#include "engine/nn/lanes-inl.h"

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

}  // namespace HWY_NAMESPACE
}  // namespace astray
HWY_AFTER_NAMESPACE();

#endif  // ASTRAY_ENGINE_NN_BLOCKS_INL_H_
