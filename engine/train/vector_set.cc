#include "engine/train/vector_set.h"

#include <algorithm>
#include <iterator>

namespace astray {

VectorSet::VectorSet(std::span<const float> scaled, std::span<const float> observed, size_t features, size_t window,
                     const std::vector<Segment>& segments, size_t limit)
    : scaled_(scaled), observed_(observed), shape_{.rows = window, .features = features} {
  if (observed.empty()) ones_ = std::make_shared<const std::vector<float>>(width(), 1.0f);
  for (const Segment& segment : segments) {
    if (segment.rows < window) continue;
    runs_.push_back({.first_vector = size_, .first_row = segment.begin});
    size_ += segment.rows - window + 1;
  }
  if (limit > 0) *this = Spread(limit);
}

size_t VectorSet::Begin(size_t i) const {
  if (!chosen_.empty()) i = chosen_[i];
  const auto run = std::prev(std::ranges::upper_bound(runs_, i, {}, &Run::first_vector));
  return (run->first_row + i - run->first_vector) * shape_.features;
}

VectorSet VectorSet::Spread(size_t limit) const {
  VectorSet spread = *this;
  if (size() <= limit) return spread;
  spread.chosen_.resize(limit);
  for (size_t i = 0; i < limit; ++i) {
    const size_t vector = i * size() / limit;
    spread.chosen_[i] = chosen_.empty() ? vector : chosen_[vector];
  }
  spread.size_ = limit;
  return spread;
}

std::vector<float> VectorSet::GatherValues() const {
  std::vector<float> all;
  all.reserve(size() * width());
  for (size_t i = 0; i < size(); ++i) all.insert(all.end(), values(i).begin(), values(i).end());
  return all;
}

std::vector<float> VectorSet::GatherObserved() const {
  std::vector<float> all;
  all.reserve(size() * width());
  for (size_t i = 0; i < size(); ++i) all.insert(all.end(), observed(i).begin(), observed(i).end());
  return all;
}

}  // namespace astray
