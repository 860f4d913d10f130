// Opens artifacts for scoring without a server.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/detect/detector.h"

namespace astray {

// Reads the artifact at `path`. `epoch` 0 keeps the artifact's own calibration; others are those that a server stored
// under models/<name>/calibrations/.
absl::StatusOr<std::shared_ptr<const Detector>> OpenDetector(const std::string& path, uint64_t epoch);

}  // namespace astray
