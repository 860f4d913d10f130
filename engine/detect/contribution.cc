#include "engine/detect/contribution.h"

#include <algorithm>

namespace astray {
namespace {

constexpr size_t kFewSlots = 16;  // up to there moving them is less than a heap's work

bool IsLarger(const Contribution& a, const Contribution& b) {
  return a.share != b.share ? a.share > b.share : a.feature < b.feature;
}

// By moving them.
size_t SelectFew(std::span<const float> shares, std::span<Contribution> slots) {
  size_t used = 0;
  float least = 0;  // that is not kept
  for (size_t feature = 0; feature < shares.size(); ++feature) {
    const float share = shares[feature];
    if (!(share > least)) continue;
    if (used < slots.size()) ++used;
    size_t place = used - 1;
    for (; place > 0 && slots[place - 1].share < share; --place) slots[place] = slots[place - 1];
    slots[place] = {.feature = static_cast<uint32_t>(feature), .share = share};
    if (used == slots.size()) least = slots[used - 1].share;
  }
  return used;
}

// By a heap.
size_t SelectMany(std::span<const float> shares, std::span<Contribution> slots) {
  size_t used = 0;
  for (size_t feature = 0; feature < shares.size(); ++feature) {
    if (!(shares[feature] > 0)) continue;
    const Contribution candidate{.feature = static_cast<uint32_t>(feature), .share = shares[feature]};
    if (used == slots.size()) {
      if (!IsLarger(candidate, slots[0])) continue;
      std::pop_heap(slots.begin(), slots.end(), IsLarger);
      slots.back() = candidate;
    } else {
      slots[used++] = candidate;
    }
    std::push_heap(slots.begin(), slots.begin() + static_cast<std::ptrdiff_t>(used), IsLarger);
  }
  std::sort_heap(slots.begin(), slots.begin() + static_cast<std::ptrdiff_t>(used), IsLarger);
  return used;
}

}  // namespace

size_t SelectLargest(std::span<const float> shares, std::span<Contribution> slots) {
  if (slots.empty()) return 0;
  return slots.size() <= kFewSlots ? SelectFew(shares, slots) : SelectMany(shares, slots);
}

}  // namespace astray
