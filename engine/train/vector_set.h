// The vectors of some segments of scaled rows: a window is a contiguous slice of row-major rows, so that vectors
// are gathered when they are needed and never stored.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "engine/train/data_split.h"

namespace astray {

// A vector is `rows` time-ordered rows of `features` values, row-major.
struct VectorShape {
  size_t rows = 1;
  size_t features = 1;
  size_t width() const { return rows * features; }
};

class VectorSet {
 public:
  // scaled, observed: [rows x features]; must outlive the set. At most `limit` vectors, evenly spread (0: all).
  VectorSet(std::span<const float> scaled, std::span<const float> observed, size_t features, size_t window,
            const std::vector<Segment>& segments, size_t limit = 0);

  // At most `limit` of them, evenly spread.
  VectorSet Spread(size_t limit) const;

  size_t size() const { return begins_.size(); }
  VectorShape shape() const { return shape_; }
  size_t width() const { return shape_.width(); }
  std::span<const float> values(size_t i) const { return scaled_.subspan(begins_[i], width()); }
  std::span<const float> observed(size_t i) const { return observed_.subspan(begins_[i], width()); }

  // All of them, [size() x width()].
  std::vector<float> GatherValues() const;
  std::vector<float> GatherObserved() const;

 private:
  std::span<const float> scaled_, observed_;
  VectorShape shape_;
  std::vector<size_t> begins_;  // in values
};

}  // namespace astray
