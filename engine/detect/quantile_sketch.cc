#include "engine/detect/quantile_sketch.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/base/random.h"

namespace astray {
namespace {

constexpr uint64_t kCoinSeed = 0x6b6c6c;
constexpr double kShrink = 2.0 / 3;
constexpr size_t kLeastCapacity = 8;
// Of a state from outside; ours keep about 3 k.
constexpr size_t kMaxKept = size_t{1} << 20;

}  // namespace

size_t QuantileSketch::Capacity(size_t level) const {
  const double depth = static_cast<double>(levels_.size() - 1 - level);
  return std::max(kLeastCapacity, static_cast<size_t>(std::ceil(static_cast<double>(k_) * std::pow(kShrink, depth))));
}

void QuantileSketch::Add(float value) {
  if (levels_.empty()) levels_.emplace_back();
  levels_[0].push_back(value);
  ++samples_;
  ++kept_;
  // Only a full lowest level can need it, and few additions fill one.
  if (levels_[0].size() >= Capacity(0)) Compress();
}

void QuantileSketch::Merge(const QuantileSketch& other) {
  if (levels_.size() < other.levels_.size()) levels_.resize(other.levels_.size());
  for (size_t h = 0; h < other.levels_.size(); ++h) {
    levels_[h].insert(levels_[h].end(), other.levels_[h].begin(), other.levels_[h].end());
  }
  samples_ += other.samples_;
  compactions_ += other.compactions_;
  squared_weights_ += other.squared_weights_;
  kept_ += other.kept_;
  Compress();
}

void QuantileSketch::Compress() {
  while (true) {
    size_t room = 0;
    for (size_t h = 0; h < levels_.size(); ++h) room += Capacity(h);
    if (kept_ < room) return;
    size_t level = 0;
    while (levels_[level].size() < Capacity(level)) ++level;
    Compact(level);
  }
}

void QuantileSketch::Compact(size_t level) {
  if (level + 1 == levels_.size()) levels_.emplace_back();
  std::vector<float>& values = levels_[level];
  std::vector<float>& above = levels_[level + 1];
  std::sort(values.begin(), values.end());
  // Of an odd number the largest stays: half of it cannot be kept.
  const size_t pairs = values.size() / 2;
  const size_t coin = Random(kCoinSeed, compactions_++).UniformInt(2);
  for (size_t i = 0; i < pairs; ++i) above.push_back(values[2 * i + coin]);
  values.erase(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(2 * pairs));
  kept_ -= pairs;
  squared_weights_ += std::ldexp(1.0, static_cast<int>(2 * level));
}

double QuantileSketch::rank_error() const { return std::sqrt(2 * squared_weights_ * std::log(2 / (1 - kConfidence))); }

std::vector<std::pair<float, uint64_t>> QuantileSketch::Weighted() const {
  std::vector<std::pair<float, uint64_t>> weighted;
  weighted.reserve(kept_);
  for (size_t h = 0; h < levels_.size(); ++h) {
    for (const float value : levels_[h]) weighted.emplace_back(value, uint64_t{1} << h);
  }
  std::sort(weighted.begin(), weighted.end());
  return weighted;
}

absl::StatusOr<QuantileSketch> QuantileSketch::FromState(const v1::SketchState& state, size_t k) {
  if (static_cast<size_t>(state.levels_size()) > kMaxLevels) {
    return absl::InvalidArgumentError(
        absl::StrCat("sketch: expected at most ", kMaxLevels, " levels, got ", state.levels_size()));
  }
  QuantileSketch sketch(k);
  for (int h = 0; h < state.levels_size(); ++h) {
    const auto& values = state.levels(h).values();
    sketch.kept_ += static_cast<size_t>(values.size());
    sketch.samples_ += static_cast<uint64_t>(values.size()) << h;
    if (sketch.kept_ > kMaxKept || sketch.samples_ > kMaxSamples) {
      return absl::InvalidArgumentError(
          absl::StrCat("sketch: expected at most ", kMaxKept, " values that stand for ", kMaxSamples, ", got more"));
    }
    for (const float value : values) {
      if (!std::isfinite(value) || value < 0) {
        return absl::InvalidArgumentError(
            absl::StrCat("sketch: level ", h, ": expected finite numbers of at least 0, got ", value));
      }
    }
    sketch.levels_.emplace_back(values.begin(), values.end());
  }
  // Whatever reached level h went through a step of each level below it.
  double least = 0;
  for (int h = 0; h + 1 < state.levels_size(); ++h) least += std::ldexp(1.0, 2 * h);
  const double most = 4 * static_cast<double>(kMaxSamples) * static_cast<double>(kMaxSamples);
  if (!(state.squared_weights() >= least && state.squared_weights() <= most)) {
    return absl::InvalidArgumentError(
        absl::StrCat("sketch: squared_weights: expected ", least, " to ", most, ", got ", state.squared_weights()));
  }
  sketch.compactions_ = state.compactions();
  sketch.squared_weights_ = state.squared_weights();
  return sketch;
}

v1::SketchState QuantileSketch::ToState() const {
  v1::SketchState state;
  for (const std::vector<float>& values : levels_) {
    state.add_levels()->mutable_values()->Add(values.begin(), values.end());
  }
  state.set_compactions(compactions_);
  state.set_squared_weights(squared_weights_);
  return state;
}

}  // namespace astray
