#include "engine/detect/false_discovery.h"

#include <algorithm>
#include <cstddef>

namespace astray {

double FalseDiscoveryCutoff(std::vector<double> p_values, double rate) {
  std::sort(p_values.begin(), p_values.end());
  for (size_t k = p_values.size(); k > 0; --k) {
    // rate * k / m rarely is exact: 2 / 100 must be at most 0.1 * 20 / 100.
    const double most = rate * static_cast<double>(k) / static_cast<double>(p_values.size());
    if (p_values[k - 1] <= most * (1 + 1e-12)) return p_values[k - 1];
  }
  return -1;
}

}  // namespace astray
