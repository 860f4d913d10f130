#include "engine/detect/residual_sums.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/detect/residual_sums.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace astray {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t kSums = 8;  // side by side, however many a register holds
using Doubles = hn::CappedTag<double, kSums>;
using Floats = hn::Rebind<float, Doubles>;
using Vector = hn::Vec<Doubles>;

// The first `count` numbers at `from` and then zeros; nothing behind them is read.
HWY_INLINE Vector LoadSome(const float* from, size_t count) {
  const Floats floats;
  const Doubles doubles;
#if HWY_TARGET <= HWY_AVX2 && HWY_ARCH_X86
  return hn::PromoteTo(doubles, hn::MaskedLoad(hn::FirstN(floats, count), floats, from));
#else
  HWY_ALIGN float some[kSums] = {};
  std::copy_n(from, count, some);
  return hn::PromoteTo(doubles, hn::Load(floats, some));
#endif
}

HWY_INLINE Vector LoadSome(const double* from, size_t count) {
  const Doubles doubles;
#if HWY_TARGET <= HWY_AVX2 && HWY_ARCH_X86
  return hn::MaskedLoad(hn::FirstN(doubles, count), doubles, from);
#else
  HWY_ALIGN double some[kSums] = {};
  std::copy_n(from, count, some);
  return hn::Load(doubles, some);
#endif
}

HWY_INLINE void StoreSome(Vector vector, size_t count, double* to) {
  const Doubles doubles;
  if (count == hn::Lanes(doubles)) return hn::StoreU(vector, doubles, to);
  HWY_ALIGN double some[kSums];
  hn::Store(vector, doubles, some);
  std::copy_n(some, count, to);
}

// All lanes, or the first `count`: what the compiler knows costs nothing.
struct AllLanes {
  HWY_INLINE Vector operator()(const float* from) const {
    return hn::PromoteTo(Doubles(), hn::LoadU(Floats(), from));
  }
  HWY_INLINE Vector operator()(const double* from) const { return hn::LoadU(Doubles(), from); }
};
struct FirstLanes {
  size_t count;
  template <typename T>
  HWY_INLINE Vector operator()(const T* from) const {
    return LoadSome(from, count);
  }
};

// r at `j`; 0 where it is not observed, whatever the output is there.
template <bool kAllObserved, typename Load>
HWY_INLINE Vector Residual(const Load& load, const float* input, const float* output, const float* observed, size_t j) {
  const auto residual = hn::Sub(load(output + j), load(input + j));
  if constexpr (kAllObserved) return residual;
  return hn::IfThenElseZero(hn::Ne(load(observed + j), hn::Zero(Doubles())), residual);
}

template <bool kWeighted, typename Load>
HWY_INLINE Vector Square(const Load& load, Vector residual, const double* weight, size_t j) {
  const auto square = hn::Mul(residual, residual);
  if constexpr (kWeighted) return hn::Mul(square, load(weight + j));
  return square;
}

HWY_INLINE double AddUp(const double* sums) {
  const double a = sums[0] + sums[4], b = sums[1] + sums[5], c = sums[2] + sums[6], d = sums[3] + sums[7];
  return (a + c) + (b + d);
}

template <bool kAllObserved, bool kWeighted>
double SumOne(const float* input, const float* output, const float* observed, const double* weight, size_t begin,
              size_t end) {
  const Doubles doubles;
  constexpr size_t kLanes = hn::MaxLanes(Doubles()), kRegisters = kSums / kLanes;
  Vector sums[kRegisters];
  for (Vector& sum : sums) sum = hn::Zero(doubles);
  size_t j = begin;
  for (; j + kSums <= end; j += kSums) {
    for (size_t k = 0; k < kRegisters; ++k) {
      const size_t at = j + k * kLanes;
      const auto residual = Residual<kAllObserved>(AllLanes(), input, output, observed, at);
      sums[k] = hn::Add(sums[k], Square<kWeighted>(AllLanes(), residual, weight, at));
    }
  }
  for (size_t k = 0; j < end; ++k, j += kLanes) {
    const FirstLanes load{std::min(kLanes, end - j)};
    const auto residual = Residual<kAllObserved>(load, input, output, observed, j);
    sums[k] = hn::Add(sums[k], Square<kWeighted>(load, residual, weight, j));
  }
  HWY_ALIGN double lanes[kSums];
  for (size_t k = 0; k < kRegisters; ++k) hn::Store(sums[k], doubles, lanes + k * kLanes);
  return AddUp(lanes);
}

void SumSquaresWithVectors(const RebuiltVectors& vectors, size_t begin, const double* weight, double* sums) {
  for (size_t i = 0; i < vectors.count; ++i) {
    const float *input = vectors.input + i * vectors.width, *output = vectors.output + i * vectors.outputs;
    const float* observed = vectors.observed_of(i);
    const auto sum = [&](auto sum_one) { return sum_one(input, output, observed, weight, begin, vectors.width); };
    if (observed == nullptr) {
      sums[i] = weight == nullptr ? sum(SumOne<true, false>) : sum(SumOne<true, true>);
    } else {
      sums[i] = weight == nullptr ? sum(SumOne<false, false>) : sum(SumOne<false, true>);
    }
  }
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
    squares = hn::Add(squares, Square<kWeighted>(load, residual, weight, j));
    if constexpr (!kAllObserved) seen = hn::Add(seen, load(observed + j));
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
  SumBlock<kAllObserved, kWeighted>(FirstLanes{features - first}, input, output, observed, weight, features, first,
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

}  // namespace HWY_NAMESPACE
}  // namespace astray
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace astray {

HWY_EXPORT(SumSquaresWithVectors);
HWY_EXPORT(SumByFeatureWithVectors);
HWY_EXPORT(MultiplyRowsWithVectors);

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

}  // namespace astray
#endif
