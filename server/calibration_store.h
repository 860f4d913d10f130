// What operators decided about models, on disk (calibration.proto):
//
//   models/<name>/calibrations/<version>-<epoch>.pb   a CalibrationFile
//   models/<name>/serving.textproto                   a ServingState
//
// Every write is durable when it returns, and a crash at any moment leaves the old file or the new. Files that cannot
// be read are never changed; a calibration is removed by its epoch alone (Prune). No state of its own; callers
// serialise the writes of one model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "astray/v1/calibration.pb.h"
#include "engine/detect/calibration.h"

namespace astray {

class CalibrationStore {
 public:
  explicit CalibrationStore(std::filesystem::path base_path) : base_path_(std::move(base_path)) {}

  // An empty state where there is no file. DataLoss names file and line where it cannot be read.
  absl::StatusOr<v1::ServingState> ReadServingState(absl::string_view name) const;
  // FailedPrecondition where the folder cannot be written.
  absl::Status WriteServingState(absl::string_view name, const v1::ServingState& state) const;

  // NotFound, or DataLoss with the file's name: checksum, content, another epoch than the name says.
  absl::StatusOr<Calibration> Read(absl::string_view name, int64_t version, uint64_t epoch) const;
  // Under calibration.epoch(), which no file has yet. FailedPrecondition where the folder cannot be written.
  absl::Status Save(absl::string_view name, int64_t version, const Calibration& calibration) const;
  // Removes a version's calibrations but the newest `newest`, at least one, and those of `named`, epochs in any order.
  // Oldest first; gives how many are gone, and an error for the first that stayed.
  absl::StatusOr<size_t> Prune(absl::string_view name, int64_t version, size_t newest,
                               const std::vector<uint64_t>& named) const;
  // Epochs of the files of a version, ascending, readable or not.
  absl::StatusOr<std::vector<uint64_t>> ListEpochs(absl::string_view name, int64_t version) const;

  std::filesystem::path ServingStatePath(absl::string_view name) const;

 private:
  std::filesystem::path FilePath(absl::string_view name, int64_t version, uint64_t epoch) const;

  std::filesystem::path base_path_;
};

}  // namespace astray
