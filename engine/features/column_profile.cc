#include "engine/features/column_profile.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace astray {
namespace {

// Partially sorts `values`; not empty.
double Quantile(std::vector<float>& values, double q) {
  const double position = q * static_cast<double>(values.size() - 1);
  const auto lower = values.begin() + static_cast<std::ptrdiff_t>(position);
  std::nth_element(values.begin(), lower, values.end());
  const double fraction = position - std::floor(position);
  if (fraction == 0) return *lower;
  const double upper = *std::min_element(lower + 1, values.end());
  return *lower + fraction * (upper - *lower);
}

}  // namespace

double ColumnStatistics::magnitude() const { return std::max(std::abs(profile.min()), std::abs(profile.max())); }

absl::StatusOr<ColumnStatistics> MeasureColumn(const std::string& name, std::span<const float> rows, size_t columns,
                                               size_t column, std::vector<float>* scratch) {
  const size_t count = rows.size() / columns;
  std::vector<float>& values = *scratch;
  values.clear();
  for (size_t row = 0; row < count; ++row) {
    const float value = rows[row * columns + column];
    if (std::isnan(value)) continue;
    if (std::isinf(value)) {
      return absl::InvalidArgumentError(
          absl::StrCat("column '", name, "' row ", row, ": expected a finite number, got ", value));
    }
    values.push_back(value);
  }
  if (values.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("column '", name, "': expected values, all ", count, " are missing"));
  }

  double sum = 0;
  for (const float value : values) sum += value;
  const auto [min, max] = std::minmax_element(values.begin(), values.end());
  const auto observed = static_cast<double>(values.size());
  // Rounding of the sum must not carry the mean of equal numbers past them.
  const double mean = std::clamp(sum / observed, static_cast<double>(*min), static_cast<double>(*max));
  double squares = 0;
  for (const float value : values) squares += (value - mean) * (value - mean);

  ColumnStatistics statistics;
  v1::ColumnProfile& profile = statistics.profile;
  profile.set_min(*min);
  profile.set_max(*max);
  profile.set_mean(mean);
  profile.set_standard_deviation(std::sqrt(squares / observed));
  profile.set_observed(values.size());
  profile.set_missing(count - values.size());
  profile.set_constant(profile.max() - profile.min() <= kConstantRange * statistics.magnitude());
  profile.set_median(Quantile(values, 0.5));
  statistics.first_quartile = Quantile(values, 0.25);
  statistics.third_quartile = Quantile(values, 0.75);
  return statistics;
}

}  // namespace astray
