#include "client/offline_detector.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/detect/artifact.h"
#include "engine/detect/calibration_file.h"

namespace astray {
namespace {

// A calibration holds for the very artifact that its errors are from.
absl::Status CheckArtifact(const Calibration& calibration, const std::string& artifact) {
  if (calibration.origin().artifact_sha256 == artifact) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("calibration epoch ", calibration.epoch(), ": expected one of artifact ", artifact.substr(0, 12),
                   ", got one of ", calibration.origin().artifact_sha256.substr(0, 12)));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Detector>> OpenDetector(const std::string& path, uint64_t epoch) {
  ASSIGN_OR_RETURN(std::shared_ptr<const Detector> detector, ReadArtifact(path));
  if (epoch == 0 || epoch == detector->calibration().epoch()) return detector;
  const DetectorModel& model = detector->model();
  const auto model_path = (std::filesystem::absolute(path) / "..").lexically_normal();
  ASSIGN_OR_RETURN(Calibration calibration,
                   ReadCalibrationFile(CalibrationPath(model_path, model.version, epoch), epoch));
  RETURN_IF_ERROR(CheckArtifact(calibration, model.artifact_sha256));
  return detector->WithCalibration(std::make_shared<const Calibration>(std::move(calibration)));
}

}  // namespace astray
