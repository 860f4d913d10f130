// How a model's stream is read: what is made of rows' times, and when verdicts make an alarm (recipe.proto).
#pragma once

#include <cstddef>

#include "absl/status/statusor.h"
#include "astray/v1/recipe.pb.h"

namespace astray {

struct StreamPolicy {
  static constexpr size_t kMaxRows = 10'000;  // of each number of rows

  double tolerance_seconds = 0;
  double max_gap_seconds = 0;  // 0: none
  size_t smoothing_rows = 1;
  size_t raise_rows = 1, of_rows = 1;
  float clear_below = 1;
  size_t clear_rows = 1;

  // What the recipe leaves out has its default. InvalidArgument names the field: "alarm.of_rows: expected 3 to 10000,
  // got 2".
  static absl::StatusOr<StreamPolicy> FromRecipe(const astray::v1::Recipe& recipe);
  void Fill(astray::v1::Recipe* recipe) const;

  // Earlier scored rows that an alarm depends on.
  size_t alarm_memory_rows() const { return smoothing_rows - 1 + (of_rows > clear_rows ? of_rows : clear_rows) - 1; }
};

}  // namespace astray
