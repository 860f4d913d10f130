// What errors vectors have of which a share is missing (missing_level.h), where too few such vectors came to say:
// complete ones are remembered, at most kMaxVectors drawn at random, and scored with readings taken out of them. Of
// every other one whole features are missing, as where a sensor is dead, of the rest single readings. The draws are
// seeded. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/random.h"
#include "engine/detect/calibration_samples.h"
#include "engine/detect/detector.h"

namespace astray {

class MissingnessProbe {
 public:
  static constexpr size_t kMaxVectors = 2'000;
  static constexpr size_t kMaxValues = size_t{1} << 22;  // that are remembered

  // `detector` must outlive the probe.
  explicit MissingnessProbe(const Detector* detector);

  // A vector with nothing missing: [window x features].
  void Offer(std::span<const float> vector);

  // Adds errors to the levels of `samples` that have too few for the rate.
  absl::Status Fill(double false_positive_rate, CalibrationSamples* samples) const;

 private:
  // Takes a share between those of the level's out of each vector; false where no number of values is such a share.
  bool TakeOut(uint8_t level, std::span<float> vectors) const;

  const Detector* detector_;
  const size_t width_, capacity_;
  Random random_;
  uint64_t offered_ = 0;
  std::vector<float> vectors_;
};

}  // namespace astray
