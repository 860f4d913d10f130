#include "client/offline_detector.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "astray/v1/calibration.pb.h"
#include "engine/base/file.h"
#include "engine/base/sha256.h"
#include "engine/base/status_macros.h"
#include "engine/detect/artifact.h"

namespace astray {
namespace {

absl::StatusOr<Calibration> ReadStoredCalibration(const std::filesystem::path& path, const std::string& artifact) {
  constexpr uint64_t kMaxBytes = 64 << 20;
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, kMaxBytes));
  v1::CalibrationFile file;
  v1::CalibrationState state;
  if (!file.ParseFromString(bytes) || Sha256(file.state()) != file.sha256() || !state.ParseFromString(file.state())) {
    return absl::DataLossError(absl::StrCat(path.string(), ": expected a calibration, got damaged bytes"));
  }
  if (state.artifact_sha256() != artifact) {
    return absl::FailedPreconditionError(absl::StrCat(path.string(), ": expected a calibration of artifact ",
                                                      artifact.substr(0, 12), ", got one of ",
                                                      state.artifact_sha256().substr(0, 12)));
  }
  return Calibration::FromState(state);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Detector>> OpenDetector(const std::string& path, uint64_t epoch) {
  ASSIGN_OR_RETURN(std::shared_ptr<const Detector> detector, ReadArtifact(path));
  if (epoch == 0 || epoch == detector->calibration().epoch()) return detector;
  const DetectorModel& model = detector->model();
  const auto folder = std::filesystem::absolute(path).lexically_normal() / ".." / "calibrations";
  ASSIGN_OR_RETURN(Calibration calibration,
                   ReadStoredCalibration((folder / absl::StrCat(model.version, "-", epoch, ".pb")).lexically_normal(),
                                         model.artifact_sha256));
  return detector->WithCalibration(std::make_shared<const Calibration>(std::move(calibration)));
}

}  // namespace astray
