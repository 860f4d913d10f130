#include "engine/detect/calibration_samples.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

absl::Status TooManySegments() {
  return absl::InvalidArgumentError(
      absl::StrCat("segment: expected at most ", CalibrationSamples::kMaxSegments, " in one calibration, got more"));
}

}  // namespace

absl::Status CalibrationSamples::CheckSegment(absl::string_view segment) {
  if (segment.size() <= kMaxSegmentBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("segment: expected at most ", kMaxSegmentBytes, " bytes, got ", segment.size()));
}

absl::Status CalibrationSamples::Add(float error, absl::string_view segment, uint8_t missing_level) {
  if (!HasRoomFor(segment)) return TooManySegments();
  if (!segment.empty()) {
    auto found = segments.find(segment);
    if (found == segments.end()) {
      found = segments.emplace(std::string(segment), ErrorSample(ErrorSample::kGroup)).first;
    }
    found->second.Add(error);
  }
  all.Add(error);
  if (missing_level > 0) missing[missing_level - 1].Add(error);
  return absl::OkStatus();
}

absl::Status CalibrationSamples::Merge(const CalibrationSamples& other) {
  for (const auto& [name, sample] : other.segments) {
    segments.try_emplace(name, ErrorSample(ErrorSample::kGroup)).first->second.Merge(sample);
  }
  if (segments.size() > kMaxSegments) return TooManySegments();
  for (size_t i = 0; i < missing.size(); ++i) missing[i].Merge(other.missing[i]);
  const auto effective = [](const CalibrationSamples& samples) {
    return static_cast<double>(samples.all.samples()) / samples.autocorrelation_time;
  };
  if (autocorrelation_time > 0 && other.autocorrelation_time > 0) {
    const double together = effective(*this) + effective(other);
    all.Merge(other.all);
    autocorrelation_time = static_cast<double>(all.samples()) / together;
  } else {
    all.Merge(other.all);
    autocorrelation_time = 0;
  }
  block_rows = block_rows == other.block_rows ? block_rows : 0;
  std::vector<uint64_t> both;
  std::ranges::set_union(false_alarms, other.false_alarms, std::back_inserter(both));
  false_alarms = std::move(both);
  return absl::OkStatus();
}

void CalibrationSamples::Seal() {
  all.Seal();
  for (auto& [name, sample] : segments) sample.Seal();
  for (ErrorSample& sample : missing) sample.Seal();
}

}  // namespace astray
