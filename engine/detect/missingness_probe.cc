#include "engine/detect/missingness_probe.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/base/status_macros.h"
#include "engine/detect/calibration.h"

namespace astray {
namespace {

constexpr uint64_t kSeed = 0x6d697373;
constexpr uint64_t kReservoirStream = 0;  // the levels' are 1 to kMissingLevels

struct Range {
  size_t least, most;  // of things out of some; empty where least > most
};

// Whole numbers of `of` things whose share is a level's. All of them would leave nothing to score.
Range CountsAtLevel(uint8_t level, size_t of) {
  const auto below = static_cast<size_t>(kMissingShare[level - 1] * static_cast<double>(of));
  const auto most = static_cast<size_t>(kMissingShare[level] * static_cast<double>(of));
  return {.least = below + 1, .most = std::min(most, of - 1)};
}

}  // namespace

MissingnessProbe::MissingnessProbe(const Detector* detector)
    : detector_(detector),
      width_(detector->features() * detector->window()),
      // Counts of log lines are never missing.
      capacity_(detector->model().pipeline.log() != nullptr ? 0 : std::min(kMaxVectors, kMaxValues / width_)),
      random_(kSeed, kReservoirStream) {}

void MissingnessProbe::Offer(std::span<const float> vector) {
  if (capacity_ == 0) return;
  ++offered_;
  if (vectors_.size() < capacity_ * width_) {
    vectors_.insert(vectors_.end(), vector.begin(), vector.end());
    return;
  }
  const uint64_t place = random_.UniformInt(offered_);
  if (place < capacity_) std::ranges::copy(vector, vectors_.begin() + static_cast<std::ptrdiff_t>(place * width_));
}

bool MissingnessProbe::TakeOut(uint8_t level, std::span<float> vectors) const {
  const size_t features = detector_->features();
  const Range readings = CountsAtLevel(level, width_), whole = CountsAtLevel(level, features);
  if (readings.least > readings.most) return false;
  Random random(kSeed, level);
  std::vector<uint32_t> order(width_);
  for (size_t i = 0; i * width_ < vectors.size(); ++i) {
    const std::span<float> vector = vectors.subspan(i * width_, width_);
    const bool by_feature = i % 2 == 1 && whole.least <= whole.most;
    const Range& range = by_feature ? whole : readings;
    order.resize(by_feature ? features : width_);
    std::iota(order.begin(), order.end(), 0u);
    random.Shuffle(order);
    order.resize(range.least + random.UniformInt(range.most - range.least + 1));
    for (const uint32_t place : order) {
      for (size_t j = place; j < width_; j += by_feature ? features : width_) {
        vector[j] = std::numeric_limits<float>::quiet_NaN();
      }
    }
  }
  return true;
}

absl::Status MissingnessProbe::Fill(double false_positive_rate, CalibrationSamples* samples) const {
  if (vectors_.empty()) return absl::OkStatus();
  for (uint8_t level = 1; level <= kMissingLevels; ++level) {
    ErrorSample& sample = samples->missing[level - 1];
    if (Calibration::Resolves(sample.samples(), false_positive_rate)) continue;
    std::vector<float> vectors = vectors_;
    if (!TakeOut(level, vectors)) continue;
    RETURN_IF_ERROR(
        detector_->VisitErrors(vectors, detector_->window(), [&](size_t /*vector*/, float error, uint8_t /*level*/) {
          sample.Add(error);
          return absl::OkStatus();
        }));
  }
  return absl::OkStatus();
}

}  // namespace astray
