#include "engine/train/time_order.h"

#include <cmath>

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

}  // namespace astray
