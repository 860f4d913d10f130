#include "engine/train/vector_set.h"

namespace astray {

VectorSet::VectorSet(std::span<const float> scaled, std::span<const float> observed, size_t features, size_t window,
                     const std::vector<Segment>& segments, size_t limit)
    : scaled_(scaled), observed_(observed), shape_{.rows = window, .features = features} {
  for (const Segment& segment : segments) {
    for (size_t row = 0; row + window <= segment.rows; ++row) begins_.push_back((segment.begin + row) * features);
  }
  if (limit > 0) *this = Spread(limit);
}

VectorSet VectorSet::Spread(size_t limit) const {
  VectorSet spread = *this;
  if (size() <= limit) return spread;
  spread.begins_.resize(limit);
  for (size_t i = 0; i < limit; ++i) spread.begins_[i] = begins_[i * size() / limit];
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
