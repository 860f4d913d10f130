#include "engine/train/time_order.h"

#include <cmath>
#include <optional>

#include "engine/data/event_time.h"

namespace astray {

double Autocorrelation(const Dataset& dataset, size_t feature) {
  const size_t rows = dataset.rows(), width = dataset.features();
  const auto value = [&](size_t row) { return static_cast<double>(dataset.values[row * width + feature]); };
  double sum = 0, count = 0;
  for (size_t i = 0; i < rows; ++i) {
    if (std::isnan(value(i))) continue;
    sum += value(i);
    ++count;
  }
  const double mean = sum / count;
  double variance = 0, covariance = 0;
  for (size_t i = 0; i < rows; ++i) {
    const double x = value(i) - mean;
    if (std::isnan(x)) continue;
    variance += x * x;
    const double next = i + 1 < rows ? value(i + 1) - mean : 0;
    if (!std::isnan(next)) covariance += x * next;
  }
  return variance > 0 ? covariance / variance : 0;
}

bool IsTimeOrdered(const Dataset& dataset) {
  if (!dataset.timestamps.empty()) return true;
  for (size_t feature = 0; feature < dataset.features(); ++feature) {
    if (Autocorrelation(dataset, feature) >= kTimeOrderedAutocorrelation) return true;
  }
  return false;
}

bool IsTimeOrdered(const v1::FeaturesRecipe& features, const Dataset& dataset) {
  return !features.has_sequence() && !features.has_log() && IsTimeOrdered(dataset);
}

std::vector<uint32_t> RunBegins(const Dataset& dataset, double max_gap_seconds) {
  std::vector<uint32_t> begins;
  std::optional<double> before;
  for (size_t i = 0; i < dataset.rows(); ++i) {
    std::optional<double> time;
    if (max_gap_seconds > 0 && !dataset.timestamps.empty()) time = ParseEventTime(dataset.timestamps[i]);
    const bool other = i > 0 && !dataset.entities.empty() && dataset.entities[i] != dataset.entities[i - 1];
    const bool gap = time && before && (*time - *before > max_gap_seconds || *time < *before);
    if (other || gap) begins.push_back(static_cast<uint32_t>(i));
    before = time;
  }
  return begins;
}

}  // namespace astray
