#include "engine/train/time_order.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "engine/data/event_time.h"

namespace astray {

std::vector<double> Autocorrelations(const Dataset& dataset) {
  const size_t rows = dataset.rows(), width = dataset.features();
  std::vector<double> sum(width), count(width);
  for (size_t i = 0; i < rows; ++i) {
    const float* const row = dataset.row(i).data();
    for (size_t f = 0; f < width; ++f) {
      const bool there = !std::isnan(row[f]);
      sum[f] += there ? static_cast<double>(row[f]) : 0;
      count[f] += there ? 1 : 0;
    }
  }
  std::vector<double> mean(width), variance(width), covariance(width);
  for (size_t f = 0; f < width; ++f) mean[f] = sum[f] / count[f];
  for (size_t i = 0; i < rows; ++i) {
    const float* const row = dataset.row(i).data();
    const float* const next = i + 1 < rows ? row + width : nullptr;
    for (size_t f = 0; f < width; ++f) {
      const double x = static_cast<double>(row[f]) - mean[f];
      const double y = next == nullptr ? 0 : static_cast<double>(next[f]) - mean[f];
      variance[f] += std::isnan(x) ? 0 : x * x;
      covariance[f] += std::isnan(x) || std::isnan(y) ? 0 : x * y;
    }
  }
  std::vector<double> correlations(width);
  for (size_t f = 0; f < width; ++f) correlations[f] = variance[f] > 0 ? covariance[f] / variance[f] : 0;
  return correlations;
}

const std::vector<double>& TimeOrder::autocorrelations() {
  if (!autocorrelations_) autocorrelations_ = Autocorrelations(dataset_);
  return *autocorrelations_;
}

bool TimeOrder::IsTimeOrdered() {
  if (dataset_.has_times()) return true;
  const double enough = dataset_.features() == 1 ? kSeriesAutocorrelation : kTimeOrderedAutocorrelation;
  return std::ranges::any_of(autocorrelations(), [&](double r) { return r >= enough; });
}

bool TimeOrder::IsTimeOrdered(const v1::FeaturesRecipe& features) {
  return !features.has_sequence() && !features.has_log() && IsTimeOrdered();
}

std::vector<uint32_t> RunBegins(const Dataset& dataset, double max_gap_seconds) {
  std::vector<uint32_t> begins;
  if (dataset.entities.empty() && max_gap_seconds <= 0) return begins;
  std::optional<double> before;
  for (size_t i = 0; i < dataset.rows(); ++i) {
    std::optional<double> time;
    if (max_gap_seconds > 0 && !dataset.timestamps.empty()) time = ParseEventTime(dataset.timestamps[i]);
    if (!dataset.seconds.empty() && !std::isnan(dataset.seconds[i])) time = dataset.seconds[i];
    const bool other =
        i > 0 && !dataset.entities.empty() && dataset.entities.number(i) != dataset.entities.number(i - 1);
    const bool gap = max_gap_seconds > 0 && time && before && (*time - *before > max_gap_seconds || *time < *before);
    if (other || gap) begins.push_back(static_cast<uint32_t>(i));
    before = time;
  }
  return begins;
}

}  // namespace astray
