#include "engine/features/row_scaling.h"

#include <algorithm>
#include <bit>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/features/row_scaling.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace astray {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

bool ScaleRowsWithVectors(std::span<const float> values, size_t columns, const double* offset, const double* factor,
                          double limit, float* scaled) {
  const hn::CappedTag<double, kScalingPadding> doubles;
  const hn::Rebind<float, decltype(doubles)> floats;
  const hn::Rebind<uint32_t, decltype(doubles)> bits;
  const size_t lanes = hn::Lanes(doubles), step = lanes % columns;
  const auto low = hn::Set(doubles, -limit), high = hn::Set(doubles, limit);
  const auto sign_off = hn::Set(bits, 0x7FFFFFFFu);
  auto largest_magnitude = hn::Zero(bits);
  size_t i = 0;
  for (size_t column = 0; i + lanes <= values.size(); i += lanes) {
    const auto value = hn::LoadU(floats, values.data() + i);
    largest_magnitude = hn::Max(largest_magnitude, hn::And(hn::BitCast(bits, value), sign_off));
    const auto centred = hn::Sub(hn::PromoteTo(doubles, value), hn::LoadU(doubles, offset + column));
    const auto held = hn::Min(hn::Max(hn::Mul(centred, hn::LoadU(doubles, factor + column)), low), high);
    hn::StoreU(hn::DemoteTo(floats, held), floats, scaled + i);
    column += step;
    if (column >= columns) column -= columns;
  }
  uint32_t largest = hn::GetLane(hn::MaxOfLanes(bits, largest_magnitude));
  for (; i < values.size(); ++i) {
    const size_t column = i % columns;
    largest = std::max(largest, std::bit_cast<uint32_t>(values[i]) & 0x7FFFFFFFu);
    scaled[i] = static_cast<float>(std::min(std::max((values[i] - offset[column]) * factor[column], -limit), limit));
  }
  return largest < 0x7F800000u;  // infinity's bits; a NaN's are above
}

}  // namespace HWY_NAMESPACE
}  // namespace astray
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace astray {

HWY_EXPORT(ScaleRowsWithVectors);

bool ScaleRows(std::span<const float> values, size_t columns, const double* offset, const double* factor, double limit,
               float* scaled) {
  return HWY_DYNAMIC_DISPATCH(ScaleRowsWithVectors)(values, columns, offset, factor, limit, scaled);
}

}  // namespace astray
#endif
