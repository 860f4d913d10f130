// Sums in double precision that have the same bits on every processor, for sources that Highway compiles once a target:
// eight go side by side, whether a register holds one, two, four or eight, and are then added up in pairs, halves
// first. Without fused multiply-add.
#include <cstddef>

#if defined(ASTRAY_ENGINE_DETECT_EIGHT_SUMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ASTRAY_ENGINE_DETECT_EIGHT_SUMS_INL_H_
#undef ASTRAY_ENGINE_DETECT_EIGHT_SUMS_INL_H_
#else
#define ASTRAY_ENGINE_DETECT_EIGHT_SUMS_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace astray {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t kSums = 8;
using Doubles = hn::CappedTag<double, kSums>;
using Vector = hn::Vec<Doubles>;
constexpr size_t kSumLanes = hn::MaxLanes(Doubles()), kSumRegisters = kSums / kSumLanes;

HWY_INLINE Vector LoadDoubles(const double* from) { return hn::LoadU(Doubles(), from); }
HWY_INLINE Vector LoadDoubles(const float* from) {
  return hn::PromoteTo(Doubles(), hn::LoadU(hn::Rebind<float, Doubles>(), from));
}

// Of the lanes: the upper half added to the lower one, until one is left.
template <typename Tag>
HWY_INLINE double SumOfHalves(hn::Vec<Tag> sums) {
#if HWY_TARGET != HWY_SCALAR
  if constexpr (hn::MaxLanes(Tag()) > 1) {
    const hn::Half<Tag> half;
    return SumOfHalves<hn::Half<Tag>>(hn::Add(hn::LowerHalf(half, sums), hn::UpperHalf(half, sums)));
  }
#endif
  return hn::GetLane(sums);
}

struct EightSums {
  Vector of[kSumRegisters];

  HWY_INLINE EightSums() {
    for (Vector& sum : of) sum = hn::Zero(Doubles());
  }
  HWY_INLINE double Total() {
    for (size_t half = kSumRegisters / 2; half > 0; half /= 2) {
      for (size_t k = 0; k < half; ++k) of[k] = hn::Add(of[k], of[k + half]);
    }
    return SumOfHalves<Doubles>(of[0]);
  }
};

// Sum of a_i b_i, `size` a multiple of kSums; product i is in sum i mod 8.
template <typename A, typename B>
HWY_INLINE double Dot(const A* a, const B* b, size_t size) {
  EightSums sums;
  for (size_t i = 0; i < size; i += kSums) {
    for (size_t k = 0; k < kSumRegisters; ++k) {
      const size_t at = i + k * kSumLanes;
      sums.of[k] = hn::Add(sums.of[k], hn::Mul(LoadDoubles(a + at), LoadDoubles(b + at)));
    }
  }
  return sums.Total();
}

}  // namespace HWY_NAMESPACE
}  // namespace astray
HWY_AFTER_NAMESPACE();

#endif  // ASTRAY_ENGINE_DETECT_EIGHT_SUMS_INL_H_
