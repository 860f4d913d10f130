// What a column of training data looks like.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/pipeline.pb.h"

namespace astray {

// A column whose range is within this part of its largest magnitude varies by a few float32 steps only: noise of the
// number format, which would be blown up to unit variance. It counts as constant.
inline constexpr double kConstantRange = 1e-6;

// The most that ColumnProfile.deciles has: nine, and one below the least value.
inline constexpr int kMaxCuts = 10;

struct ColumnStatistics {
  astray::v1::ColumnProfile profile;  // complete
  double first_quartile = 0;          // linear interpolation between order statistics (Hyndman & Fan 1996, type 7)
  double third_quartile = 0;

  double magnitude() const;  // max(|min|, |max|)
};

// Looks at column `column` of rows [n x columns]; NaN is missing. The standard deviation is the population's, two-pass
// in double precision. `scratch` is reused from call to call.
// InvalidArgument, naming the column: an infinity, or no value at all ("column 'flow': expected values, all 400 are
// missing").
absl::StatusOr<ColumnStatistics> MeasureColumn(const std::string& name, std::span<const float> rows, size_t columns,
                                               size_t column, std::vector<float>* scratch);
// The same of rows in several parts. scratch: [rows of all parts].
absl::StatusOr<ColumnStatistics> MeasureColumn(const std::string& name, std::span<const std::span<const float>> parts,
                                               size_t columns, size_t column, std::span<float> scratch);

}  // namespace astray
