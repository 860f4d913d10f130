// What a feature has to do with an anomalous vector's error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

namespace astray {

struct Contribution {
  uint32_t feature = 0;
  float share = 0;     // of the error, summed over the window's rows; shares of a verdict add up to 1
  float observed = 0;  // newest row, the user's units; NaN where missing
  float expected = 0;
  float repaired_score = std::numeric_limits<float>::quiet_NaN();  // NaN where its repair was not asked for or tried
};

// Keeps the features of the largest shares above 0 in `slots`, largest first; equal shares in the order of the
// features. Returns how many; the other fields are as they are made.
size_t SelectLargest(std::span<const float> shares, std::span<Contribution> slots);

}  // namespace astray
