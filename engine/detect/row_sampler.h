// Chooses which rows of a sequence are counted: apart enough to be nearly independent, and no more a second than pays.
//
// Neighbouring rows of a machine resemble each other, overlapping windows all the more. After a row that counts, as
// many are left out as a uniform draw from [spacing, 2 spacing) says. Where many machines share the sequence, rows of
// one come at any distance, but seldom: with m machines the next counted row is the same one's with probability 1 / m
// only, and what correlations add up to over all distances is that of one machine alone. Random distances, because
// equal ones could meet the same machine each time.
//
// Rows cost tokens, which come at a steady rate up to a burst. Where they run out, distances double; while half a burst
// is there they halve again, once a second. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"
#include "engine/base/random.h"

namespace astray {

class RowSampler {
 public:
  struct Options {
    size_t spacing = 1;  // at least 1
    double rows_per_second = 10;
    double burst_rows = 2000;  // at least 2
  };

  RowSampler(const Options& options, uint64_t seed)
      : options_(options), random_(seed), stride_(options.spacing), tokens_(options.burst_rows) {}

  // The sequence's next rows come: first Begin, then Next until it is false. Next sets `row`, in [0, rows), to one of
  // them that counts.
  void Begin(absl::Time now);
  bool Next(size_t rows, size_t* row);

  size_t spacing() const { return options_.spacing; }

 private:
  bool TakeToken();
  size_t Distance() { return stride_ + random_.UniformInt(stride_); }

  Options options_;
  Random random_;
  size_t stride_;
  size_t skip_ = 0;  // rows until the next that may count
  double tokens_;
  absl::Time refilled_ = absl::InfinitePast(), halved_ = absl::InfinitePast();
};

}  // namespace astray
