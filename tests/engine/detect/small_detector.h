// A detector small enough for tests: three features, a network with random weights, calibrated on its own rows.
// The same options give the same bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "astray/v1/calibration.pb.h"
#include "astray/v1/recipe.pb.h"
#include "astray/v1/report.pb.h"
#include "engine/detect/detector.h"

namespace astray {

struct SmallDetectorOptions {
  uint32_t window = 3;
  uint64_t seed = 1;
  v1::ScoreKind kind = v1::FEATURE_NORMALISED;
  uint32_t t_squared_rows = 0;
  size_t calibration_rows = 400;
  std::string rules = {};  // "rule { feature: 'flow' ignore_below: 0.5 }"
  float noise_level = 0;   // of a Gaussian corruption that the recipe then names
  bool hindsight = false;  // calibrated on the same rows
};

// n time-ordered rows of features "flow", "pressure", "temperature".
std::vector<float> SmallRows(size_t n, uint64_t seed);

std::shared_ptr<const Detector> MakeSmallDetector(const SmallDetectorOptions& options = {});

// For windows of `width` values: of random numbers, not of data.
v1::SubspaceScale SmallSubspace(size_t width, size_t components);

v1::TrainingReport SmallReport();

}  // namespace astray
