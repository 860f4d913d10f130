// The errors that a calibration is made of, gathered vector by vector: of all rows, of each segment, of each level of
// missing values (missing_level.h). Bounded memory, however many there are. Not thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "engine/detect/error_sample.h"
#include "engine/detect/missing_level.h"

namespace astray {

struct CalibrationSamples {
  static constexpr size_t kMaxSegments = 1'000;
  static constexpr size_t kMaxSegmentBytes = 256;
  static constexpr size_t kMaxFalseAlarms = 100'000;

  // InvalidArgument for a name that is too long, "segment: expected at most 256 bytes, got 300".
  static absl::Status CheckSegment(absl::string_view segment);

  // A vector's error. Its segment is made where there is none of that name; empty: it is of none. InvalidArgument
  // with one segment too many.
  absl::Status Add(float error, absl::string_view segment, uint8_t missing_level);
  bool HasRoomFor(absl::string_view segment) const {  // its name is there, empty, or not one too many
    return segment.empty() || segments.size() < kMaxSegments || segments.contains(segment);
  }
  // The same for what CheckSegment and the number of segments allow.
  absl::Status Merge(const CalibrationSamples& other);
  void Seal();

  ErrorSample all{ErrorSample::kAllRows};
  std::map<std::string, ErrorSample, std::less<>> segments;
  std::array<ErrorSample, kMissingLevels> missing = {ErrorSample(ErrorSample::kGroup), ErrorSample(ErrorSample::kGroup),
                                                     ErrorSample(ErrorSample::kGroup),
                                                     ErrorSample(ErrorSample::kGroup)};  // level 1 first
  double autocorrelation_time = 0;  // vectors to one independent one, at least 1; 0: not known
  uint32_t block_rows = 0;          // one vector of each block of so many was taken; 0: every one
  // Those among the errors, each by a number of its own, ascending: who merges knows which ones are there already.
  std::vector<uint64_t> false_alarms;
};

}  // namespace astray
