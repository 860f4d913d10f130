#include "engine/detect/calibration_file.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "engine/base/file.h"
#include "engine/base/sha256.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

// All errors of an old one, or the samples of a thousand segments.
constexpr uint64_t kMaxBytes = uint64_t{128} << 20;

absl::Status DataLossAt(const std::filesystem::path& path, absl::string_view message) {
  return absl::DataLossError(absl::StrCat(path.string(), ": ", message));
}

}  // namespace

std::filesystem::path CalibrationPath(const std::filesystem::path& model_path, int64_t version, uint64_t epoch) {
  return model_path / "calibrations" / absl::StrCat(version, "-", epoch, ".pb");
}

absl::StatusOr<Calibration> ReadCalibrationFile(const std::filesystem::path& path, uint64_t epoch) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, kMaxBytes));
  v1::CalibrationFile file;
  if (!file.ParseFromString(bytes)) return DataLossAt(path, "expected a CalibrationFile message");
  if (Sha256(file.state()) != file.sha256()) return DataLossAt(path, "the SHA-256 of its state does not match");
  v1::CalibrationState state;
  if (!state.ParseFromString(file.state())) return DataLossAt(path, "state: expected a CalibrationState message");
  absl::StatusOr<Calibration> calibration = Calibration::FromState(state);
  if (!calibration.ok()) return DataLossAt(path, calibration.status().message());
  if (calibration->epoch() != epoch) {
    return DataLossAt(path, absl::StrCat("epoch: expected ", epoch, ", got ", calibration->epoch()));
  }
  return calibration;
}

absl::Status WriteCalibrationFile(const std::filesystem::path& path, const Calibration& calibration) {
  v1::CalibrationFile file;
  if (!calibration.ToState().SerializeToString(file.mutable_state())) {
    return absl::InternalError("calibration: cannot be serialised");
  }
  file.set_sha256(Sha256(file.state()));
  return WriteFileAtomically(path, file.SerializeAsString());
}

}  // namespace astray
