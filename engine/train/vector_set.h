// The vectors of some segments of scaled rows: a window is a contiguous slice of row-major rows, so that vectors
// are gathered when they are needed and never stored.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "engine/train/data_split.h"

namespace astray {

class VectorSet {
 public:
  // scaled, observed: [rows x features]; must outlive the set. At most `limit` vectors, evenly spread (0: all).
  VectorSet(std::span<const float> scaled, std::span<const float> observed, size_t features, size_t window,
            const std::vector<Segment>& segments, size_t limit = 0);

  size_t size() const { return begins_.size(); }
  size_t width() const { return width_; }
  std::span<const float> values(size_t i) const { return scaled_.subspan(begins_[i], width_); }
  std::span<const float> observed(size_t i) const { return observed_.subspan(begins_[i], width_); }

  // All of them, [size() x width()].
  std::vector<float> GatherValues() const;
  std::vector<float> GatherObserved() const;

 private:
  std::span<const float> scaled_, observed_;
  size_t width_;
  std::vector<size_t> begins_;  // in values
};

}  // namespace astray
