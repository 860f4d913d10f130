#include "engine/data/dataset.h"

#include <algorithm>
#include <utility>

#include "engine/base/status_macros.h"

namespace astray {
namespace {

// Element i of each column goes to place to[i]; [rows x width] elements.
template <typename Vector>
absl::Status Move(std::span<const uint64_t> first_places, EntityColumn& entities, size_t width, Vector* column) {
  if (column->empty()) return absl::OkStatus();
  std::vector<uint64_t> places(first_places.begin(), first_places.end());
  Vector moved;
  if constexpr (requires { column->scratch(); }) {
    moved = Vector(column->scratch());
    RETURN_IF_ERROR(moved.Reserve(column->size()));
    moved.Extend(column->size());
  } else {
    moved.resize(column->size());
  }
  for (size_t i = 0; i < entities.size(); ++i) {
    const auto from = column->begin() + static_cast<std::ptrdiff_t>(i * width);
    std::move(from, from + static_cast<std::ptrdiff_t>(width),
              moved.begin() + static_cast<std::ptrdiff_t>(places[entities.number(i)]++ * width));
  }
  *column = std::move(moved);
  return absl::OkStatus();
}

}  // namespace

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
    if (!seconds.empty()) seconds[to] = seconds[i];
    if (!entities.empty()) entities.numbers()[to] = entities.number(i);
    if (!segments.empty()) segments.numbers()[to] = segments.number(i);
    if (!culprits.empty()) culprits[to] = std::move(culprits[i]);
  }
  values.resize(kept * width);
  if (!timestamps.empty()) timestamps.resize(kept);
  if (!seconds.empty()) seconds.resize(kept);
  if (!entities.empty()) entities.numbers().resize(kept);
  if (!segments.empty()) segments.numbers().resize(kept);
  if (!culprits.empty()) culprits.resize(kept);
  labels.clear();
  return all - kept;
}

absl::Status Dataset::GroupByEntity() {
  if (std::ranges::is_sorted(entities.numbers())) return absl::OkStatus();
  std::vector<uint64_t> places(entities.entities());  // of each entity's first row
  for (const uint32_t number : entities.numbers()) ++places[number];
  uint64_t rows_before = 0;
  for (uint64_t& place : places) rows_before += std::exchange(place, rows_before);
  RETURN_IF_ERROR(Move(places, entities, features(), &values));
  RETURN_IF_ERROR(Move(places, entities, 1, &timestamps));
  RETURN_IF_ERROR(Move(places, entities, 1, &seconds));
  RETURN_IF_ERROR(Move(places, entities, 1, &segments.numbers()));
  RETURN_IF_ERROR(Move(places, entities, 1, &labels));
  RETURN_IF_ERROR(Move(places, entities, 1, &culprits));
  std::ranges::sort(entities.numbers());
  return absl::OkStatus();
}

}  // namespace astray
