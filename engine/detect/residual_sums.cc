#include "engine/detect/residual_sums.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/detect/residual_sums.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// clang-format off
#include "hwy/highway.h"
#include "engine/detect/eight_sums-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace astray {
namespace HWY_NAMESPACE {

using Floats = hn::Rebind<float, Doubles>;
using FloatVector = hn::Vec<Floats>;

HWY_INLINE void StoreSome(Vector vector, size_t count, double* to) {
  const Doubles doubles;
  if (count == hn::Lanes(doubles)) return hn::StoreU(vector, doubles, to);
  HWY_ALIGN double some[kSums];
  hn::Store(vector, doubles, some);
  std::copy_n(some, count, to);
}

// All lanes, or the first `count`: what the compiler knows costs nothing.
struct AllLanes {
  HWY_INLINE FloatVector operator()(const float* from) const { return hn::LoadU(Floats(), from); }
  HWY_INLINE Vector operator()(const double* from) const { return LoadDoubles(from); }
};
// The others are zero, and nothing behind them is read.
class FirstLanes {
 public:
  explicit FirstLanes(size_t count)
      : count_(count), floats_(hn::FirstN(Floats(), count)), doubles_(hn::FirstN(Doubles(), count)) {}

  HWY_INLINE FloatVector operator()(const float* from) const { return Load(Floats(), floats_, from); }
  HWY_INLINE Vector operator()(const double* from) const { return Load(Doubles(), doubles_, from); }

 private:
  template <typename Tag, typename Mask>
  HWY_INLINE hn::Vec<Tag> Load(Tag tag, Mask mask, const hn::TFromD<Tag>* from) const {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
    (void)count_;
    return hn::MaskedLoad(mask, tag, from);
#else  // a masked load could fault
    (void)mask;
    HWY_ALIGN hn::TFromD<Tag> some[kSums] = {};
    std::copy_n(from, count_, some);
    return hn::Load(tag, some);
#endif
  }

  size_t count_;
  hn::Mask<Floats> floats_;
  hn::Mask<Doubles> doubles_;
};

// r at `j`; 0 where it is not observed, whatever the output is there.
template <bool kAllObserved, typename Load>
HWY_INLINE Vector Residual(const Load& load, const float* input, const float* output, const float* observed, size_t j) {
  auto residual = hn::Sub(load(output + j), load(input + j));
  if constexpr (!kAllObserved) {
    residual = hn::IfThenElseZero(hn::Ne(load(observed + j), hn::Zero(Floats())), residual);
  }
  return hn::PromoteTo(Doubles(), residual);
}

// sum + weight r². The square of a float is exact in double precision: with a fused multiply-add or without, the sum is
// rounded once.
template <bool kWeighted, typename Load>
HWY_INLINE Vector AddSquare(const Load& load, Vector residual, const double* weight, size_t j, Vector sum) {
  if constexpr (!kWeighted) return hn::MulAdd(residual, residual, sum);
  return hn::Add(sum, hn::Mul(hn::Mul(residual, residual), load(weight + j)));
}

// [begin, end) of one vector; `last` loads what is left behind whole registers.
template <bool kAllObserved, bool kWeighted>
HWY_INLINE double SumOne(const float* input, const float* output, const float* observed, const double* weight,
                         size_t begin, size_t end, const FirstLanes& last) {
  EightSums sums;
  const auto add = [&](const auto& load, size_t k, size_t j) HWY_ATTR {
    const auto residual = Residual<kAllObserved>(load, input, output, observed, j);
    sums.of[k] = AddSquare<kWeighted>(load, residual, weight, j, sums.of[k]);
  };
  size_t j = begin;
  for (; j + kSums <= end; j += kSums) {
    for (size_t k = 0; k < kSumRegisters; ++k) add(AllLanes(), k, j + k * kSumLanes);
  }
  size_t k = 0;
  for (; j + kSumLanes <= end; ++k, j += kSumLanes) add(AllLanes(), k, j);
  if (j < end) add(last, k, j);
  return sums.Total();
}

template <bool kWeighted>
void SumAll(const RebuiltVectors& vectors, size_t begin, const double* weight, double* sums) {
  const FirstLanes last((vectors.width - begin) % hn::Lanes(Doubles()));
  for (size_t i = 0; i < vectors.count; ++i) {
    const float *input = vectors.input + i * vectors.width, *output = vectors.output + i * vectors.outputs;
    const float* observed = vectors.observed_of(i);
    sums[i] = observed == nullptr
                  ? SumOne<true, kWeighted>(input, output, observed, weight, begin, vectors.width, last)
                  : SumOne<false, kWeighted>(input, output, observed, weight, begin, vectors.width, last);
  }
}

void SumSquaresWithVectors(const RebuiltVectors& vectors, size_t begin, const double* weight, double* sums) {
  weight == nullptr ? SumAll<false>(vectors, begin, weight, sums) : SumAll<true>(vectors, begin, weight, sums);
}

template <bool kAllObserved, bool kWeighted, typename Load>
HWY_INLINE void SumBlock(const Load& load, const float* input, const float* output, const float* observed,
                         const double* weight, size_t features, size_t first, size_t count, size_t rows,
                         double* residual_sum, double* square_sum, double* counts) {
  const Doubles doubles;
  auto residuals = load(residual_sum + first), squares = load(square_sum + first), seen = load(counts + first);
  for (size_t row = rows; row-- > 0;) {
    const size_t j = row * features + first;
    const auto residual = Residual<kAllObserved>(load, input, output, observed, j);
    residuals = hn::Add(residuals, residual);
    squares = AddSquare<kWeighted>(load, residual, weight, j, squares);
    if constexpr (!kAllObserved) seen = hn::Add(seen, hn::PromoteTo(doubles, load(observed + j)));
  }
  if constexpr (kAllObserved) seen = hn::Add(seen, hn::Set(doubles, static_cast<double>(rows)));
  StoreSome(residuals, count, residual_sum + first);
  StoreSome(squares, count, square_sum + first);
  StoreSome(seen, count, counts + first);
}

template <bool kAllObserved, bool kWeighted>
void SumFeatures(const float* input, const float* output, const float* observed, const double* weight, size_t features,
                 size_t rows, double* residual, double* square, double* count) {
  const size_t lanes = hn::Lanes(Doubles());
  size_t first = 0;
  for (; first + lanes <= features; first += lanes) {
    SumBlock<kAllObserved, kWeighted>(AllLanes(), input, output, observed, weight, features, first, lanes, rows,
                                      residual, square, count);
  }
  if (first == features) return;
  SumBlock<kAllObserved, kWeighted>(FirstLanes(features - first), input, output, observed, weight, features, first,
                                    features - first, rows, residual, square, count);
}

void SumByFeatureWithVectors(const float* input, const float* output, const float* observed, const double* weight,
                             size_t features, size_t rows, double* residual, double* square, double* count) {
  const auto sum = [&](auto sum_features) {
    sum_features(input, output, observed, weight, features, rows, residual, square, count);
  };
  if (observed == nullptr) {
    weight == nullptr ? sum(SumFeatures<true, false>) : sum(SumFeatures<true, true>);
  } else {
    weight == nullptr ? sum(SumFeatures<false, false>) : sum(SumFeatures<false, true>);
  }
}

void MultiplyRowsWithVectors(std::span<const double> z, const double* matrix, size_t columns, double* product) {
  const Doubles doubles;
  constexpr size_t kLanes = hn::MaxLanes(Doubles()), kRegisters = kMatrixColumns / kLanes;
  for (size_t first = 0; first < columns; first += kMatrixColumns) {
    Vector sums[kRegisters];
    for (Vector& sum : sums) sum = hn::Zero(doubles);
    for (size_t i = 0; i < z.size(); ++i) {
      const auto factor = hn::Set(doubles, z[i]);
      for (size_t k = 0; k < kRegisters; ++k) {
        const auto row = hn::LoadU(doubles, matrix + i * columns + first + k * kLanes);
        sums[k] = hn::Add(sums[k], hn::Mul(row, factor));
      }
    }
    for (size_t k = 0; k < kRegisters; ++k) hn::StoreU(sums[k], doubles, product + first + k * kLanes);
  }
}

// Two registers of columns by all rows: as many sums go side by side as a processor has registers for.
template <size_t kRows>
void MultiplyRowsByTriangle(const double* z, size_t stride, size_t size, const double* matrix, double* product) {
  const Doubles doubles;
  constexpr size_t kLanes = hn::MaxLanes(Doubles());
  static_assert(kTriangleColumns % (2 * kLanes) == 0);
  for (size_t column = 0; column < size; column += kTriangleColumns, matrix += size * kTriangleColumns) {
    for (size_t first = 0; first < kTriangleColumns; first += 2 * kLanes) {
      Vector low[kRows], high[kRows];
      for (size_t row = 0; row < kRows; ++row) low[row] = high[row] = hn::Zero(doubles);
      for (size_t i = column; i < size; ++i) {  // above it is nothing
        const auto left = hn::LoadU(doubles, matrix + i * kTriangleColumns + first);
        const auto right = hn::LoadU(doubles, matrix + i * kTriangleColumns + first + kLanes);
        for (size_t row = 0; row < kRows; ++row) {
          const auto factor = hn::Set(doubles, z[row * stride + i]);
          low[row] = hn::Add(low[row], hn::Mul(left, factor));
          high[row] = hn::Add(high[row], hn::Mul(right, factor));
        }
      }
      for (size_t row = 0; row < kRows; ++row) {
        double* const to = product + row * stride + column + first;
        hn::StoreU(low[row], doubles, to);
        hn::StoreU(high[row], doubles, to + kLanes);
      }
    }
  }
}

void MultiplyByTriangleWithVectors(const double* z, size_t rows, size_t stride, size_t size, const double* matrix,
                                   double* product) {
  static_assert(kRowsTogether == 4);
  switch (rows) {
    case 1:
      return MultiplyRowsByTriangle<1>(z, stride, size, matrix, product);
    case 2:
      return MultiplyRowsByTriangle<2>(z, stride, size, matrix, product);
    case 3:
      return MultiplyRowsByTriangle<3>(z, stride, size, matrix, product);
    default:
      return MultiplyRowsByTriangle<4>(z, stride, size, matrix, product);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace astray
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace astray {

HWY_EXPORT(SumSquaresWithVectors);
HWY_EXPORT(SumByFeatureWithVectors);
HWY_EXPORT(MultiplyRowsWithVectors);
HWY_EXPORT(MultiplyByTriangleWithVectors);

void SumSquares(const RebuiltVectors& vectors, size_t begin, const double* weight, double* sums) {
  HWY_DYNAMIC_DISPATCH(SumSquaresWithVectors)(vectors, begin, weight, sums);
}

void SumByFeature(const float* input, const float* output, const float* observed, const double* weight, size_t features,
                  size_t rows, double* residual, double* square, double* count) {
  HWY_DYNAMIC_DISPATCH(SumByFeatureWithVectors)
  (input, output, observed, weight, features, rows, residual, square, count);
}

void MultiplyRows(std::span<const double> z, const double* matrix, size_t columns, double* product) {
  HWY_DYNAMIC_DISPATCH(MultiplyRowsWithVectors)(z, matrix, columns, product);
}

void MultiplyByTriangle(const double* z, size_t rows, size_t stride, size_t size, const double* matrix,
                        double* product) {
  HWY_DYNAMIC_DISPATCH(MultiplyByTriangleWithVectors)(z, rows, stride, size, matrix, product);
}

}  // namespace astray
#endif
