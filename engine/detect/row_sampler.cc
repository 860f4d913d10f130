#include "engine/detect/row_sampler.h"

#include <algorithm>

namespace astray {
namespace {

constexpr size_t kLargestStride = size_t{1} << 20;

}  // namespace

void RowSampler::Begin(absl::Time now) {
  if (now <= refilled_) return;
  const double seconds = absl::ToDoubleSeconds(now - refilled_);
  refilled_ = now;
  tokens_ = std::min(tokens_ + seconds * options_.rows_per_second, options_.burst_rows);
  if (stride_ > options_.spacing && tokens_ >= options_.burst_rows / 2 && now - halved_ >= absl::Seconds(1)) {
    halved_ = now;
    stride_ = std::max(stride_ / 2, options_.spacing);
    // Rows may have become few: the distance drawn for many could take days.
    skip_ = std::min(skip_, Distance());
  }
}

bool RowSampler::TakeToken() {
  if (tokens_ < 1) {
    stride_ = std::min(2 * stride_, std::max(kLargestStride, options_.spacing));
    return false;
  }
  tokens_ -= 1;
  return true;
}

bool RowSampler::Next(size_t rows, size_t* row) {
  while (skip_ < rows) {
    const size_t candidate = skip_;
    const bool counts = TakeToken();
    skip_ += Distance();
    if (!counts) continue;
    *row = candidate;
    return true;
  }
  skip_ -= rows;
  return false;
}

}  // namespace astray
