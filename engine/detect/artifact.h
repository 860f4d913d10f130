// Detectors on disk: models/<name>/<version>/ (docs/artifact-format.md is the spec).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "astray/v1/artifact.pb.h"
#include "astray/v1/report.pb.h"
#include "engine/detect/detector.h"

namespace astray {

inline constexpr uint32_t kArtifactFormatVersion = 1;

// [a-z0-9][a-z0-9_.-]{0,62}: a model's name is a folder, a metric label and part of URLs.
absl::Status CheckModelName(absl::string_view name);

// The version that a folder's name stands for: decimal digits without leading zeros, at least 1. 0 for any other text.
int64_t ParseVersion(absl::string_view text);

// Writes `detector` as the next version under base_path/name, or as `version` where it is not 0 (AlreadyExists where
// taken). Replays `golden_rows` to make golden.pb. Returns the artifact's path. A crash leaves nothing visible.
absl::StatusOr<std::filesystem::path> WriteArtifact(const std::filesystem::path& base_path, const Detector& detector,
                                                    std::span<const float> golden_rows,
                                                    const astray::v1::TrainingReport& report, int64_t version);

// Reads and checks everything: format version, sizes, checksums, limits, finite weights; then replays golden.pb,
// which also warms the detector up. name and version come from the path's last two parts; where the last is no version,
// the name is the manifest's and the version 0. artifact_sha256 is that of manifest.textproto.
// NotFound: no such folder or no manifest. DataLoss: size, checksum, content. FailedPrecondition: a format version
// that this program does not know; golden inputs that do not reproduce. Every error names the file.
absl::StatusOr<std::shared_ptr<const Detector>> ReadArtifact(const std::filesystem::path& path);

absl::StatusOr<astray::v1::Manifest> ReadManifest(const std::filesystem::path& path);
absl::StatusOr<astray::v1::TrainingReport> ReadReport(const std::filesystem::path& path);

// Versions under base_path/name, ascending; other entries are passed over. NotFound where there is no such folder.
absl::StatusOr<std::vector<int64_t>> ListVersions(const std::filesystem::path& base_path, absl::string_view name);
// Model names under base_path: folders with a valid name, sorted.
absl::StatusOr<std::vector<std::string>> ListModelNames(const std::filesystem::path& base_path);

}  // namespace astray
