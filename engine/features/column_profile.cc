#include "engine/features/column_profile.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "absl/strings/str_cat.h"

namespace astray {
namespace {

// Partially sorts `values`; not empty.
double Quantile(std::span<float> values, double q) {
  const double position = q * static_cast<double>(values.size() - 1);
  const auto lower = values.begin() + static_cast<std::ptrdiff_t>(position);
  std::nth_element(values.begin(), lower, values.end());
  const double fraction = position - std::floor(position);
  if (fraction == 0) return *lower;
  const double upper = *std::min_element(lower + 1, values.end());
  return *lower + fraction * (upper - *lower);
}

constexpr size_t kDeciles = 10;

// The cuts of ColumnProfile.deciles: values of the column, so that no bin between two of them is empty; `values` as
// Quantile leaves them.
std::vector<float> Cuts(const v1::ColumnProfile& profile, double magnitude, std::span<float> values) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto least = static_cast<float>(profile.min());
  if (profile.constant()) {
    // What would count as the same constant lies between the cuts.
    constexpr double kLargest = std::numeric_limits<float>::max();
    const double slack = kConstantRange * magnitude;
    return {std::nextafterf(static_cast<float>(std::max(profile.max() - slack, -kLargest)), -kInfinity),
            static_cast<float>(std::min(profile.min() + slack, kLargest))};
  }
  std::vector<float> cuts;
  auto begin = values.begin();
  for (size_t i = 1; i < kDeciles; ++i) {
    const auto rank = static_cast<std::ptrdiff_t>((i * values.size() + kDeciles - 1) / kDeciles) - 1;
    const auto cut = values.begin() + rank;
    if (cut < begin) continue;  // fewer values than deciles
    std::nth_element(begin, cut, values.end());
    begin = cut + 1;
    // A column with ties at its least value: less than that is another bin, which training left empty.
    if (*cut == least && cuts.empty()) cuts.push_back(std::nextafterf(least, -kInfinity));
    if (cuts.empty() || *cut > cuts.back()) cuts.push_back(*cut);
  }
  return cuts;
}

void FillBins(double magnitude, std::span<float> values, v1::ColumnProfile* profile) {
  std::vector<float> cuts = Cuts(*profile, magnitude, values);
  std::erase_if(cuts, [](float cut) { return !std::isfinite(cut); });
  std::vector<size_t> counts(cuts.size() + 1);
  for (const float value : values) {
    ++counts[static_cast<size_t>(std::lower_bound(cuts.begin(), cuts.end(), value) - cuts.begin())];
  }
  profile->mutable_deciles()->Add(cuts.begin(), cuts.end());
  for (const size_t count : counts) {
    profile->add_shares(static_cast<double>(count) / static_cast<double>(values.size()));
  }
}

}  // namespace

double ColumnStatistics::magnitude() const { return std::max(std::abs(profile.min()), std::abs(profile.max())); }

absl::StatusOr<ColumnStatistics> MeasureColumn(const std::string& name, std::span<const float> rows, size_t columns,
                                               size_t column, std::vector<float>* scratch) {
  scratch->resize(rows.size() / columns);
  return MeasureColumn(name, std::span(&rows, 1), columns, column, *scratch);
}

absl::StatusOr<ColumnStatistics> MeasureColumn(const std::string& name, std::span<const std::span<const float>> parts,
                                               size_t columns, size_t column, std::span<float> scratch) {
  size_t count = 0, there = 0;
  for (const std::span<const float> rows : parts) {
    for (size_t i = column; i < rows.size(); i += columns, ++count) {
      if (std::isnan(rows[i])) continue;
      if (std::isinf(rows[i])) {
        return absl::InvalidArgumentError(
            absl::StrCat("column '", name, "' row ", count, ": expected a finite number, got ", rows[i]));
      }
      scratch[there++] = rows[i];
    }
  }
  const std::span<float> values = scratch.first(there);
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
  FillBins(statistics.magnitude(), values, &profile);
  return statistics;
}

}  // namespace astray
