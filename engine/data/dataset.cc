#include "engine/data/dataset.h"

#include <algorithm>
#include <utility>

namespace astray {

size_t Dataset::DropAnomalies() {
  if (labels.empty()) return 0;
  const size_t all = rows(), width = features();
  size_t kept = 0;
  for (size_t i = 0; i < all; ++i) {
    if (labels[i] != 0) continue;
    std::copy_n(values.data() + i * width, width, values.data() + kept * width);
    if (!timestamps.empty()) timestamps[kept] = std::move(timestamps[i]);
    if (!culprits.empty()) culprits[kept] = std::move(culprits[i]);
    ++kept;
  }
  values.resize(kept * width);
  if (!timestamps.empty()) timestamps.resize(kept);
  if (!culprits.empty()) culprits.resize(kept);
  labels.clear();
  return all - kept;
}

}  // namespace astray
