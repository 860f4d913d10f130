#include "engine/detect/autocorrelation.h"

#include <algorithm>

namespace astray {
namespace {

constexpr size_t kMaxLag = 8'192;

}  // namespace

double AutocorrelationTime(std::span<const float> values, std::span<const size_t> runs) {
  if (values.size() < 2 || runs.empty()) return 0;
  double mean = 0;
  for (const float value : values) mean += value;
  mean /= static_cast<double>(values.size());
  std::vector<double> deviations(values.size());
  std::ranges::transform(values, deviations.begin(), [&](float value) { return value - mean; });
  const size_t longest = *std::ranges::max_element(runs);

  // The mean product at a lag, over the pairs that are in one run.
  const auto covariance = [&](size_t lag) {
    double sum = 0;
    size_t pairs = 0, begin = 0;
    for (const size_t run : runs) {
      for (size_t i = begin; i + lag < begin + run; ++i) sum += deviations[i] * deviations[i + lag];
      pairs += run > lag ? run - lag : 0;
      begin += run;
    }
    return pairs == 0 ? 0.0 : sum / static_cast<double>(pairs);
  };
  const double variance = covariance(0);
  if (!(variance > 0)) return 1;
  // tau = -1 + 2 sum over k of (rho(2 k) + rho(2 k + 1)).
  double time = -1;
  for (size_t lag = 0; lag < std::min(longest, kMaxLag); lag += 2) {
    const double pair = (covariance(lag) + covariance(lag + 1)) / variance;
    if (!(pair > 0)) break;
    time += 2 * pair;
  }
  return std::clamp(time, 1.0, static_cast<double>(longest));
}

void AutocorrelationTrace::Add(absl::string_view run, float value) {
  if (values_ == kMaxValues) return;
  ++values_;
  const auto found = runs_.find(run);
  (found != runs_.end() ? found->second : runs_[std::string(run)]).push_back(value);
}

double AutocorrelationTrace::Time() const {
  std::vector<float> values;
  std::vector<size_t> lengths;
  values.reserve(values_);
  for (const auto& [name, run] : runs_) {
    values.insert(values.end(), run.begin(), run.end());
    lengths.push_back(run.size());
  }
  return AutocorrelationTime(values, lengths);
}

}  // namespace astray
