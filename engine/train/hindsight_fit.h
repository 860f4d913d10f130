// What judging rows in hindsight (detect/hindsight.h) takes, of held-out normal rows.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/detect/detector.h"

namespace astray {

// Rows that follow each other in time, [rows x features], and the place of the first in the data.
struct Stretch {
  std::span<const float> rows;
  size_t first = 0;
};

// The name of the segment of the row at a place; empty: of none.
using SegmentOf = std::function<absl::string_view(size_t place)>;

// None for a model that judges rows alone, and where no held-out row has an error. Looks at 16,384 rows of each at
// most, evenly from the stretches. The rate is the finest that so many rows resolve, where that is coarser.
absl::StatusOr<std::optional<HindsightModel>> FitHindsight(const Detector& detector,
                                                           const std::vector<Stretch>& held_out,
                                                           const std::vector<Stretch>& training,
                                                           const SegmentOf& segment_of, double false_positive_rate);

}  // namespace astray
