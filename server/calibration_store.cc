#include "server/calibration_store.h"

#include <algorithm>
#include <span>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"
#include "engine/base/text_proto.h"
#include "engine/detect/calibration_file.h"
#include "google/protobuf/text_format.h"

namespace astray {
namespace {

constexpr uint64_t kMaxServingStateBytes = uint64_t{1} << 20;

absl::Status CannotWrite(const absl::Status& status) {
  return absl::FailedPreconditionError(absl::StrCat("the model folder cannot be written: ", status.message()));
}

// A folder that we may not write is the operator's decision, not a fault of ours.
absl::Status AsPrecondition(const absl::Status& status) {
  return absl::IsPermissionDenied(status) || absl::IsNotFound(status) ? CannotWrite(status) : status;
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
  return CalibrationPath(base_path_ / std::string(name), version, epoch);
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
  return ReadCalibrationFile(FilePath(name, version, epoch), epoch);
}

absl::Status CalibrationStore::Save(absl::string_view name, int64_t version, const Calibration& calibration) const {
  const std::filesystem::path path = FilePath(name, version, calibration.epoch());
  if (const absl::Status status = CreateFolder(path.parent_path()); !status.ok()) return CannotWrite(status);
  return AsPrecondition(WriteCalibrationFile(path, calibration));
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

absl::StatusOr<size_t> CalibrationStore::Prune(absl::string_view name, int64_t version, size_t newest,
                                               const std::vector<uint64_t>& named) const {
  ASSIGN_OR_RETURN(const std::vector<uint64_t> epochs, ListEpochs(name, version));
  const size_t older = epochs.size() - std::min(epochs.size(), std::max<size_t>(1, newest));
  size_t removed = 0;
  absl::Status first_error;
  for (const uint64_t epoch : std::span(epochs).first(older)) {
    if (std::ranges::find(named, epoch) != named.end()) continue;
    const std::filesystem::path path = FilePath(name, version, epoch);
    std::error_code error;
    std::filesystem::remove(path, error);  // not synced: what a crash brings back goes the next time
    if (error) {
      first_error.Update(absl::FailedPreconditionError(absl::StrCat(path.string(), ": ", error.message())));
    } else {
      ++removed;
    }
  }
  RETURN_IF_ERROR(first_error);
  return removed;
}

}  // namespace astray
