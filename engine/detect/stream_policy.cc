#include "engine/detect/stream_policy.h"

#include <cmath>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

constexpr double kMaxSeconds = 1e9;

absl::Status ReadSeconds(absl::string_view field, double value, double* out) {
  if (!(value >= 0 && value <= kMaxSeconds)) {
    return absl::InvalidArgumentError(absl::StrCat(field, ": expected 0 to ", kMaxSeconds, " seconds, got ", value));
  }
  *out = value;
  return absl::OkStatus();
}

absl::Status ReadRows(absl::string_view field, uint32_t value, size_t least, size_t* out) {
  if (value < least || value > StreamPolicy::kMaxRows) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ": expected ", least, " to ", StreamPolicy::kMaxRows, ", got ", value));
  }
  *out = value;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<StreamPolicy> StreamPolicy::FromRecipe(const v1::Recipe& recipe) {
  StreamPolicy policy;
  const v1::StreamRecipe& stream = recipe.stream();
  RETURN_IF_ERROR(ReadSeconds("stream.tolerance_seconds", stream.tolerance_seconds(), &policy.tolerance_seconds));
  RETURN_IF_ERROR(ReadSeconds("stream.max_gap_seconds", stream.max_gap_seconds(), &policy.max_gap_seconds));
  const v1::AlarmRecipe& alarm = recipe.alarm();
  if (alarm.has_smoothing_rows()) {
    RETURN_IF_ERROR(ReadRows("alarm.smoothing_rows", alarm.smoothing_rows(), 1, &policy.smoothing_rows));
  }
  if (alarm.has_raise_rows()) {
    RETURN_IF_ERROR(ReadRows("alarm.raise_rows", alarm.raise_rows(), 1, &policy.raise_rows));
  }
  policy.of_rows = policy.raise_rows;
  if (alarm.has_of_rows()) {
    RETURN_IF_ERROR(ReadRows("alarm.of_rows", alarm.of_rows(), policy.raise_rows, &policy.of_rows));
  }
  if (alarm.has_clear_rows()) {
    RETURN_IF_ERROR(ReadRows("alarm.clear_rows", alarm.clear_rows(), 1, &policy.clear_rows));
  }
  if (alarm.has_clear_below()) {
    policy.clear_below = alarm.clear_below();
    if (!(policy.clear_below > 0 && policy.clear_below <= 1)) {
      return absl::InvalidArgumentError(
          absl::StrCat("alarm.clear_below: expected a number above 0, at most 1, got ", policy.clear_below));
    }
  }
  return policy;
}

void StreamPolicy::Fill(v1::Recipe* recipe) const {
  recipe->mutable_stream()->set_tolerance_seconds(tolerance_seconds);
  recipe->mutable_stream()->set_max_gap_seconds(max_gap_seconds);
  v1::AlarmRecipe* alarm = recipe->mutable_alarm();
  alarm->set_smoothing_rows(static_cast<uint32_t>(smoothing_rows));
  alarm->set_raise_rows(static_cast<uint32_t>(raise_rows));
  alarm->set_of_rows(static_cast<uint32_t>(of_rows));
  alarm->set_clear_below(clear_below);
  alarm->set_clear_rows(static_cast<uint32_t>(clear_rows));
}

}  // namespace astray
