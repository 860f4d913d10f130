#include "engine/data/dataset.h"

#include <algorithm>
#include <map>
#include <utility>

namespace astray {

size_t Dataset::DropAnomalies() {
  if (labels.empty()) return 0;
  const size_t all = rows(), width = features();
  size_t kept = 0;
  for (size_t i = 0; i < all; ++i) {
    if (labels[i] != 0) continue;
    const size_t to = kept++;
    if (to == i) continue;  // a string that is moved to itself may be lost
    std::copy_n(values.data() + i * width, width, values.data() + to * width);
    if (!timestamps.empty()) timestamps[to] = std::move(timestamps[i]);
    if (!entities.empty()) entities[to] = std::move(entities[i]);
    if (!culprits.empty()) culprits[to] = std::move(culprits[i]);
  }
  values.resize(kept * width);
  if (!timestamps.empty()) timestamps.resize(kept);
  if (!entities.empty()) entities.resize(kept);
  if (!culprits.empty()) culprits.resize(kept);
  labels.clear();
  return all - kept;
}

void Dataset::GroupByEntity() {
  if (entities.empty()) return;
  std::map<std::string, size_t> places;
  std::vector<std::pair<size_t, size_t>> order;  // the entity's place, and the row
  order.reserve(rows());
  for (size_t i = 0; i < rows(); ++i) order.emplace_back(places.emplace(entities[i], places.size()).first->second, i);
  std::ranges::sort(order);
  Dataset grouped{.feature_names = feature_names};
  grouped.values.reserve(values.size());
  for (const auto& [place, i] : order) {
    grouped.values.insert(grouped.values.end(), row(i).begin(), row(i).end());
    grouped.entities.push_back(std::move(entities[i]));
    if (!timestamps.empty()) grouped.timestamps.push_back(std::move(timestamps[i]));
    if (!labels.empty()) grouped.labels.push_back(labels[i]);
    if (!culprits.empty()) grouped.culprits.push_back(std::move(culprits[i]));
  }
  *this = std::move(grouped);
}

}  // namespace astray
