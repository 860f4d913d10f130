// The vectors of some segments of scaled rows: a window is a contiguous slice of row-major rows, so that vectors
// are gathered when they are needed and never stored. Memory is that of the segments, or of the limit.
#pragma once

#include <cstddef>
#include <memory>
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
  // scaled, observed: [rows x features]; must outlive the set. No `observed`: everything is. At most `limit` vectors,
  // evenly spread (0: all).
  VectorSet(std::span<const float> scaled, std::span<const float> observed, size_t features, size_t window,
            const std::vector<Segment>& segments, size_t limit = 0);

  // At most `limit` of them, evenly spread.
  VectorSet Spread(size_t limit) const;

  size_t size() const { return size_; }
  VectorShape shape() const { return shape_; }
  size_t width() const { return shape_.width(); }
  std::span<const float> values(size_t i) const { return scaled_.subspan(Begin(i), width()); }
  std::span<const float> observed(size_t i) const {
    return observed_.empty() ? std::span<const float>(*ones_) : observed_.subspan(Begin(i), width());
  }

  // All of them, [size() x width()].
  std::vector<float> GatherValues() const;
  std::vector<float> GatherObserved() const;

 private:
  // The vectors that begin in rows one behind the other.
  struct Run {
    size_t first_vector;
    size_t first_row;
  };

  size_t Begin(size_t i) const;  // of vector i, in values

  std::span<const float> scaled_, observed_;
  std::shared_ptr<const std::vector<float>> ones_;  // [width()], where there is no observed_
  VectorShape shape_;
  size_t size_ = 0;
  std::vector<Run> runs_;       // of all vectors, ascending
  std::vector<size_t> chosen_;  // which of them, where there was a limit
};

}  // namespace astray
