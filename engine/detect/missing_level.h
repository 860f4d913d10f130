// Vectors by how much of them is missing: they have other errors, so they get thresholds of their own.
//
//   level 0: nothing missing; 1: up to a tenth of the vector's values; 2: a quarter; 3: a half; 4: more
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace astray {

inline constexpr size_t kMissingLevels = 4;  // beside level 0
// Level i has at most this share missing, and more than level i - 1.
inline constexpr std::array<double, kMissingLevels + 1> kMissingShare = {0, 0.1, 0.25, 0.5, 1};

inline uint8_t MissingLevel(size_t missing, size_t values) {
  uint8_t level = 0;
  while (static_cast<double>(missing) > kMissingShare[level] * static_cast<double>(values)) ++level;
  return level;
}

}  // namespace astray
