// Detectors that need no training: a small network with seeded random weights, calibrated on its own seeded rows.
// The same options give the same bytes. Anything that goes wrong aborts: these are for tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/detect/detector.h"

namespace astray {

struct TinyDetectorOptions {
  std::string name = "pump";
  std::vector<std::string> features = {"flow", "pressure", "temperature"};
  uint32_t window = 1;
  std::vector<uint32_t> hidden = {8, 4, 8};  // widths of the layers before the output; the middle one is the code
  v1::Activation code_activation = v1::TANH;
  uint64_t seed = 1;
  size_t calibration_rows = 400;
  double false_positive_rate = 0.02;
  v1::StreamRecipe stream = {};
  v1::AlarmRecipe alarm = {};
  std::optional<HindsightModel> hindsight = {};       // for window > 1; its scale is empty
  std::optional<v1::PrototypeScale> prototypes = {};  // for window 1
};

// n time-ordered rows of normal values [n x features], like those a tiny detector is calibrated on.
std::vector<float> TinyRows(size_t n, size_t features, uint64_t seed);

std::shared_ptr<const Detector> MakeTinyDetector(const TinyDetectorOptions& options = {});

// Writes base_path/name/<version> and returns that path; version 0 takes the next one.
std::filesystem::path WriteTinyArtifact(const std::filesystem::path& base_path, const TinyDetectorOptions& options = {},
                                        int64_t version = 0);

}  // namespace astray
