#include <string>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/file.h"
#include "engine/base/sha256.h"
#include "engine/base/status_macros.h"
#include "engine/detect/artifact.h"
#include "engine/detect/artifact_format.h"
#include "engine/detect/golden.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/text_format.h"
#include "google/protobuf/util/json_util.h"

namespace astray {
namespace {

constexpr int kMaxVersionAttempts = 100;

std::string ToText(const google::protobuf::Message& message) {
  google::protobuf::TextFormat::Printer printer;
  printer.SetUseShortRepeatedPrimitives(true);
  printer.SetUseUtf8StringEscaping(true);
  std::string text;
  printer.PrintToString(message, &text);
  return text;
}

std::string ToBytes(const google::protobuf::Message& message) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

absl::StatusOr<std::string> ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  if (!status.ok()) return absl::InternalError(absl::StrCat(kReportFile.name, ": ", std::string(status.message())));
  return json;
}

struct Content {
  ArtifactFile file;
  std::string owned;
  absl::string_view bytes;  // of `owned`, or of the detector's own memory
};

Content Owned(const ArtifactFile& file, std::string bytes) { return {file, std::move(bytes), {}}; }

// Everything but the manifest; the weights' bytes are the detector's.
absl::StatusOr<std::vector<Content>> MakeContents(const Detector& detector, std::span<const float> golden_rows,
                                                  const v1::TrainingReport& report) {
  const DetectorModel& model = detector.model();
  const Network& network = model.executors.network();
  v1::CalibrationState calibration = detector.calibration().ToState();
  calibration.set_epoch(1);
  calibration.set_created_unix_seconds(0);
  calibration.clear_artifact_sha256();
  if (model.hindsight) {
    *calibration.mutable_hindsight()->mutable_scale() = model.hindsight->scale;
    *calibration.mutable_hindsight()->mutable_calibration() = model.hindsight->calibration.ToState();
  }
  ASSIGN_OR_RETURN(const v1::Golden golden, MakeGolden(detector, golden_rows));
  ASSIGN_OR_RETURN(std::string json, ToJson(report));
  const std::span<const float> weights = network.parameters();

  std::vector<Content> contents;
  contents.push_back(Owned(kRecipeFile, ToText(model.recipe)));
  contents.push_back(Owned(kNetworkFile, ToBytes(network.spec())));
  contents.push_back({kWeightsFile, {}, {reinterpret_cast<const char*>(weights.data()), weights.size_bytes()}});
  contents.push_back(Owned(kPipelineFile, ToBytes(model.pipeline.ToState())));
  contents.push_back(Owned(kCalibrationFile, ToBytes(calibration)));
  contents.push_back(Owned(kGoldenFile, ToBytes(golden)));
  contents.push_back(Owned(kReportFile, std::move(json)));
  for (Content& content : contents) {
    if (!content.owned.empty()) content.bytes = content.owned;
  }
  return contents;
}

absl::StatusOr<std::string> MakeManifest(const DetectorModel& model, const std::vector<Content>& contents) {
  v1::Manifest manifest;
  manifest.set_format_version(kArtifactFormatVersion);
  manifest.set_name(model.name);
  manifest.set_astray_version(ASTRAY_VERSION);
  *manifest.mutable_score() = model.score_scale;
  for (const Content& content : contents) {
    if (content.bytes.size() > content.file.max_bytes) {
      return absl::InvalidArgumentError(absl::StrCat(content.file.name, ": expected at most ", content.file.max_bytes,
                                                     " bytes, got ", content.bytes.size()));
    }
    v1::ManifestFile* entry = manifest.add_files();
    entry->set_path(content.file.name);
    entry->set_bytes(content.bytes.size());
    entry->set_sha256(Sha256Hex(content.bytes));
  }
  std::string text = ToText(manifest);
  text += ManifestChecksumLine(text);
  if (text.size() > kManifestFile.max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(kManifestFile.name, ": expected at most ", kManifestFile.max_bytes, " bytes, got ", text.size()));
  }
  return text;
}

absl::Status WriteVersion(const std::filesystem::path& path, const std::vector<Content>& contents,
                          const std::string& manifest) {
  ASSIGN_OR_RETURN(StagedDirectory staged, StagedDirectory::Create(path));
  for (const Content& content : contents) RETURN_IF_ERROR(staged.Write(content.file.name, content.bytes));
  RETURN_IF_ERROR(staged.Write(kManifestFile.name, manifest));
  return staged.Commit();
}

absl::StatusOr<int64_t> NextVersion(const std::filesystem::path& base_path, const std::string& name) {
  const auto versions = ListVersions(base_path, name);
  if (versions.ok()) return versions->empty() ? 1 : versions->back() + 1;
  if (absl::IsNotFound(versions.status())) return 1;
  return versions.status();
}

}  // namespace

absl::StatusOr<std::filesystem::path> WriteArtifact(const std::filesystem::path& base_path, const Detector& detector,
                                                    std::span<const float> golden_rows,
                                                    const v1::TrainingReport& report, int64_t version) {
  const DetectorModel& model = detector.model();
  RETURN_IF_ERROR(CheckModelName(model.name));
  if (version < 0) return absl::InvalidArgumentError(absl::StrCat("version: expected at least 1, got ", version));
  const std::filesystem::path folder = base_path / model.name;
  std::error_code ignored;
  if (version > 0 && std::filesystem::exists(folder / std::to_string(version), ignored)) {
    return absl::AlreadyExistsError(absl::StrCat((folder / std::to_string(version)).string(), ": exists already"));
  }
  ASSIGN_OR_RETURN(const std::vector<Content> contents, MakeContents(detector, golden_rows, report));
  ASSIGN_OR_RETURN(const std::string manifest, MakeManifest(model, contents));
  if (version > 0) {
    std::filesystem::path path = folder / std::to_string(version);
    RETURN_IF_ERROR(WriteVersion(path, contents, manifest));
    return path;
  }
  ASSIGN_OR_RETURN(const int64_t first, NextVersion(base_path, model.name));
  for (int attempt = 0; attempt < kMaxVersionAttempts; ++attempt) {
    std::filesystem::path path = folder / std::to_string(first + attempt);
    const absl::Status status = WriteVersion(path, contents, manifest);
    if (status.ok()) return path;
    // Another writer took this version since we looked.
    if (!absl::IsAlreadyExists(status)) return status;
  }
  return absl::AbortedError(
      absl::StrCat(folder.string(), ": the next ", kMaxVersionAttempts, " versions were taken by others"));
}

}  // namespace astray
