#include "engine/features/row_scaling.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/features/row_scaling.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace astray {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

bool ScaleRowsWithVectors(std::span<const float> values, size_t columns, const double* offset, const double* factor,
                          float limit, float* scaled) {
  const hn::CappedTag<double, kScalingPadding> doubles;
  const hn::Rebind<float, decltype(doubles)> floats;
  const hn::Rebind<uint32_t, decltype(doubles)> bits;
  const size_t lanes = hn::Lanes(doubles), step = lanes % columns;
  const auto sign_off = hn::Set(bits, 0x7FFFFFFFu);
  auto largest_magnitude = hn::Zero(bits);
  size_t i = 0;
  for (size_t column = 0; i + lanes <= values.size(); i += lanes) {
    const auto value = hn::PromoteTo(doubles, hn::LoadU(floats, values.data() + i));
    const auto centred = hn::Sub(value, hn::LoadU(doubles, offset + column));
    const auto result = hn::DemoteTo(floats, hn::Mul(centred, hn::LoadU(doubles, factor + column)));
    largest_magnitude = hn::Max(largest_magnitude, hn::And(hn::BitCast(bits, result), sign_off));
    hn::StoreU(result, floats, scaled + i);
    column += step;
    if (column >= columns) column -= columns;
  }
  uint32_t largest = hn::GetLane(hn::MaxOfLanes(bits, largest_magnitude));
  for (; i < values.size(); ++i) {
    const size_t column = i % columns;
    scaled[i] = static_cast<float>((values[i] - offset[column]) * factor[column]);
    largest = std::max(largest, std::bit_cast<uint32_t>(scaled[i]) & 0x7FFFFFFFu);
  }
  return largest <= std::bit_cast<uint32_t>(limit);  // infinity's bits and those of NaN are above
}

bool HoldAndFillWithVectors(std::span<const float> values, size_t columns, float limit, const float* fill,
                            float* scaled, float* observed, uint32_t* missing) {
  const hn::CappedTag<float, 16> floats;
  const size_t lanes = hn::Lanes(floats);
  const auto low = hn::Set(floats, -limit), high = hn::Set(floats, limit);
  const auto ones = hn::Set(floats, 1.0f), infinity = hn::Set(floats, std::numeric_limits<float>::infinity());
  bool finite = true;
  for (size_t begin = 0; begin + columns <= values.size(); begin += columns) {
    uint32_t missing_here = 0;
    size_t i = 0;
    auto any_infinite = hn::FirstN(floats, 0);
    for (; i < columns && columns >= lanes; i += lanes) {
      // The last vector ends with the row: some of its lanes have had their turn.
      const size_t first = std::min(i, columns - lanes), at = begin + first;
      const auto value = hn::LoadU(floats, values.data() + at);
      const auto is_missing = hn::IsNaN(value);
      const auto held = hn::Min(hn::Max(hn::LoadU(floats, scaled + at), low), high);
      hn::StoreU(hn::IfThenElse(is_missing, hn::LoadU(floats, fill + first), held), floats, scaled + at);
      hn::StoreU(hn::IfThenZeroElse(is_missing, ones), floats, observed + at);
      missing_here += hn::CountTrue(floats, hn::AndNot(hn::FirstN(floats, i - first), is_missing));
      any_infinite = hn::Or(any_infinite, hn::Eq(hn::Abs(value), infinity));
    }
    finite = finite && hn::AllFalse(floats, any_infinite);
    for (; i < columns; ++i) {
      const float value = values[begin + i];
      const bool is_missing = std::isnan(value);
      scaled[begin + i] = is_missing ? fill[i] : std::clamp(scaled[begin + i], -limit, limit);
      observed[begin + i] = is_missing ? 0.0f : 1.0f;
      missing_here += is_missing ? 1 : 0;
      finite = finite && !std::isinf(value);
    }
    *missing++ = missing_here;
  }
  return finite;
}

}  // namespace HWY_NAMESPACE
}  // namespace astray
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace astray {

HWY_EXPORT(ScaleRowsWithVectors);
HWY_EXPORT(HoldAndFillWithVectors);

bool ScaleRows(std::span<const float> values, size_t columns, const double* offset, const double* factor, float limit,
               float* scaled) {
  return HWY_DYNAMIC_DISPATCH(ScaleRowsWithVectors)(values, columns, offset, factor, limit, scaled);
}

bool HoldAndFill(std::span<const float> values, size_t columns, float limit, const float* fill, float* scaled,
                 float* observed, uint32_t* missing) {
  return HWY_DYNAMIC_DISPATCH(HoldAndFillWithVectors)(values, columns, limit, fill, scaled, observed, missing);
}

}  // namespace astray
#endif
