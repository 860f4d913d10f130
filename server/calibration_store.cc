#include "server/calibration_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/file.h"
#include "engine/base/sha256.h"
#include "engine/base/status_macros.h"
#include "google/protobuf/text_format.h"
#include "server/text_proto.h"

namespace astray {
namespace {

constexpr uint64_t kMaxServingStateBytes = uint64_t{1} << 20;
constexpr uint64_t kMaxCalibrationBytes = Calibration::kMaxSamples * sizeof(float) + 4096;

absl::Status DataLossAt(const std::filesystem::path& path, absl::string_view message) {
  return absl::DataLossError(absl::StrCat(path.string(), ": ", message));
}

// A folder that we may not write is the operator's decision, not a fault of ours.
absl::Status AsPrecondition(const absl::Status& status) {
  if (!absl::IsPermissionDenied(status) && !absl::IsNotFound(status)) return status;
  return absl::FailedPreconditionError(absl::StrCat("the model folder cannot be written: ", status.message()));
}

absl::Status MakeFolder(const std::filesystem::path& path) {
  std::error_code error;
  const bool created = std::filesystem::create_directory(path, error);
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("the model folder cannot be written: ", path.string(), ": ", error.message()));
  }
  if (!created) return absl::OkStatus();
  const std::filesystem::path parent = path.parent_path();
  const int fd = open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = fd >= 0 && fsync(fd) == 0;
  if (fd >= 0) close(fd);
  if (synced) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(parent.string(), ": cannot sync the folder"));
}

// The epoch of "<version>-<epoch>.pb"; 0 for any other name.
uint64_t ParseFileName(absl::string_view name, int64_t version) {
  uint64_t epoch = 0;
  if (!absl::ConsumePrefix(&name, absl::StrCat(version, "-")) || !absl::ConsumeSuffix(&name, ".pb") || name.empty() ||
      name[0] < '1' || name[0] > '9' || !absl::SimpleAtoi(name, &epoch)) {
    return 0;
  }
  return epoch;
}

}  // namespace

std::filesystem::path CalibrationStore::ServingStatePath(absl::string_view name) const {
  return base_path_ / std::string(name) / "serving.textproto";
}

std::filesystem::path CalibrationStore::FilePath(absl::string_view name, int64_t version, uint64_t epoch) const {
  return base_path_ / std::string(name) / "calibrations" / absl::StrCat(version, "-", epoch, ".pb");
}

absl::StatusOr<v1::ServingState> CalibrationStore::ReadServingState(absl::string_view name) const {
  const std::filesystem::path path = ServingStatePath(name);
  v1::ServingState state;
  const absl::StatusOr<std::string> text = ReadFile(path, kMaxServingStateBytes);
  if (absl::IsNotFound(text.status())) return state;
  if (!text.ok()) return absl::DataLossError(text.status().message());
  if (const absl::Status status = ParseTextProto(*text, path.string(), &state); !status.ok()) {
    return absl::DataLossError(status.message());
  }
  return state;
}

absl::Status CalibrationStore::WriteServingState(absl::string_view name, const v1::ServingState& state) const {
  std::string text;
  if (!google::protobuf::TextFormat::PrintToString(state, &text)) {
    return absl::InternalError("serving state: cannot be printed");
  }
  return AsPrecondition(
      WriteFileAtomically(ServingStatePath(name), absl::StrCat("# Written by astrayd. A ServingState.\n", text)));
}

absl::StatusOr<Calibration> CalibrationStore::Read(absl::string_view name, int64_t version, uint64_t epoch) const {
  const std::filesystem::path path = FilePath(name, version, epoch);
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, kMaxCalibrationBytes));
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

absl::Status CalibrationStore::Save(absl::string_view name, int64_t version, const Calibration& calibration) const {
  const std::filesystem::path path = FilePath(name, version, calibration.epoch());
  RETURN_IF_ERROR(MakeFolder(path.parent_path()));
  v1::CalibrationFile file;
  if (!calibration.ToState().SerializeToString(file.mutable_state())) {
    return absl::InternalError("calibration: cannot be serialised");
  }
  file.set_sha256(Sha256(file.state()));
  return AsPrecondition(WriteFileAtomically(path, file.SerializeAsString()));
}

absl::StatusOr<std::vector<uint64_t>> CalibrationStore::ListEpochs(absl::string_view name, int64_t version) const {
  const std::filesystem::path folder = FilePath(name, version, 1).parent_path();
  std::vector<uint64_t> epochs;
  std::error_code error;
  std::filesystem::directory_iterator it(folder, error);
  for (; !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    if (const uint64_t epoch = ParseFileName(it->path().filename().string(), version); epoch > 0) {
      epochs.push_back(epoch);
    }
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    return absl::FailedPreconditionError(absl::StrCat(folder.string(), ": ", error.message()));
  }
  std::sort(epochs.begin(), epochs.end());
  return epochs;
}

}  // namespace astray
