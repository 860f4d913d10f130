// Ranks of a long stream of numbers in bounded memory: the sketch of Karnin, Lang & Liberty ("Optimal quantile
// approximation in streams", FOCS 2016). A value kept at level h stands for 2^h of those that came. A level that is
// full is sorted and every second value, from the first or the second by a coin, goes one level up; capacities shrink
// by 2/3 from level to level downwards.
//
// Each such step changes the rank of any fixed number by 0 or by +-2^h, with a fair coin. By Hoeffding's inequality the
// rank is off by more than rank_error() = sqrt(2 S ln(2 / (1 - kConfidence))) with probability below 1 - kConfidence,
// where S sums 4^h over all steps; S follows from the number of values alone, about 2.7 (n / k)².
//
// The coins come from a fixed seed: the same values in the same order give the same bytes. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/calibration.pb.h"

namespace astray {

class QuantileSketch {
 public:
  static constexpr double kConfidence = 1 - 1e-6;
  static constexpr size_t kMaxLevels = 40;
  static constexpr uint64_t kMaxSamples = uint64_t{1} << 40;

  // k: capacity of the highest level; about 3 k values are kept.
  explicit QuantileSketch(size_t k) : k_(k) {}

  void Add(float value);
  void Merge(const QuantileSketch& other);

  uint64_t samples() const { return samples_; }
  double rank_error() const;  // values
  // Values with how many each stands for, ascending; the numbers add up to samples().
  std::vector<std::pair<float, uint64_t>> Weighted() const;

  // InvalidArgument for what no sketch of at most kMaxSamples values, finite and not negative, looks like (untrusted).
  static absl::StatusOr<QuantileSketch> FromState(const astray::v1::SketchState& state, size_t k);
  astray::v1::SketchState ToState() const;

 private:
  size_t Capacity(size_t level) const;
  void Compress();  // until no more is kept than there is room for
  void Compact(size_t level);

  size_t k_;
  uint64_t samples_ = 0;
  uint64_t compactions_ = 0;
  double squared_weights_ = 0;
  size_t kept_ = 0;
  std::vector<std::vector<float>> levels_;
};

}  // namespace astray
