// How many consecutive values of a time series carry as much as one independent value: the integrated autocorrelation
// time
//   tau = 1 + 2 sum over lags t >= 1 of rho(t),
// with which n values are worth n / tau. The sum ends by Geyer's initial positive sequence (1992): with the first pair
// rho(2 k) + rho(2 k + 1) that is not positive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace astray {

// runs: time series that have nothing to do with each other, one behind the other, of these lengths. All deviate from
// one mean: runs that differ in their means count as correlated, as they are for a threshold that is common to them. At
// least 1; at most the longest run. 0 where there are fewer than two values.
double AutocorrelationTime(std::span<const float> values, std::span<const size_t> runs);

// The first errors of each of many runs, as they come, in bounded memory. Not thread-safe.
class AutocorrelationTrace {
 public:
  static constexpr size_t kMaxValues = 65'536;

  void Add(absl::string_view run, float value);
  double Time() const;  // AutocorrelationTime

 private:
  size_t values_ = 0;
  std::map<std::string, std::vector<float>, std::less<>> runs_;
};

}  // namespace astray
