// Calibrations made after training, one a file: a CalibrationFile (calibration.proto), its state under a SHA-256.
//
//   models/<name>/calibrations/<version>-<epoch>.pb
#pragma once

#include <cstdint>
#include <filesystem>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/detect/calibration.h"

namespace astray {

// model_path: models/<name>.
std::filesystem::path CalibrationPath(const std::filesystem::path& model_path, int64_t version, uint64_t epoch);

// NotFound, or DataLoss with the file's name: checksum, content, another epoch than `epoch`.
absl::StatusOr<Calibration> ReadCalibrationFile(const std::filesystem::path& path, uint64_t epoch);

// Durable when it returns; a crash leaves the old file or the new one. The folder must be there.
absl::Status WriteCalibrationFile(const std::filesystem::path& path, const Calibration& calibration);

}  // namespace astray
