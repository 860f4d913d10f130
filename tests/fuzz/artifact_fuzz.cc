// An artifact with one file replaced by the input and a manifest that agrees with it: the reader refuses it with a
// message that names the folder, or gives a detector that scores.
// The first byte picks the file, the rest is its content. Seeds: the golden artifact's files, each behind its number.
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "engine/base/sha256.h"
#include "engine/detect/artifact.h"
#include "engine/detect/artifact_format.h"
#include "google/protobuf/stubs/logging.h"
#include "google/protobuf/text_format.h"
#include "tests/engine/detect/small_detector.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

std::string ReadBytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void WriteBytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

class Artifact {
 public:
  Artifact() {
    google::protobuf::SetLogHandler(nullptr);
    const auto path =
        WriteArtifact(folder_.path(), *MakeSmallDetector({.calibration_rows = 60}), SmallRows(5, 2), SmallReport(), 1);
    Require(path.ok());
    path_ = *path;
    manifest_text_ = ReadBytes(path_ / kManifestFile.name);
    Require(google::protobuf::TextFormat::ParseFromString(manifest_text_, &manifest_));
  }

  const std::filesystem::path& path() const { return path_; }

  absl::Status ReadWith(size_t file, const std::string& content) {
    if (file >= kListedFiles.size()) {
      WriteBytes(path_ / kManifestFile.name, content);
      const absl::Status status = ReadArtifact(path_).status();
      WriteBytes(path_ / kManifestFile.name, content + ManifestChecksumLine(content));
      ReadArtifact(path_).status().IgnoreError();
      WriteBytes(path_ / kManifestFile.name, manifest_text_);
      return status;
    }
    const std::filesystem::path path = path_ / kListedFiles[file].name;
    const std::string original = ReadBytes(path);
    v1::Manifest manifest = manifest_;
    for (v1::ManifestFile& entry : *manifest.mutable_files()) {
      if (entry.path() != kListedFiles[file].name) continue;
      entry.set_bytes(content.size());
      entry.set_sha256(Sha256Hex(content));
    }
    std::string text;
    Require(google::protobuf::TextFormat::PrintToString(manifest, &text));
    WriteBytes(path, content);
    WriteBytes(path_ / kManifestFile.name, text + ManifestChecksumLine(text));
    const auto detector = ReadArtifact(path_);
    ReadReport(path_).status().IgnoreError();
    if (detector.ok()) {
      ScoreResult result;
      const std::vector<float> rows((*detector)->features() * ((*detector)->window() + 1), 1.0f);
      Require((*detector)->Score(rows, {.explain_all = true, .reconstruction = true}, &result).ok());
      // Whatever groups a calibration has can be asked for and added to.
      const Calibration& calibration = (*detector)->calibration();
      for (uint32_t segment = 0; segment <= calibration.segments().size(); ++segment) {
        for (uint8_t level = 0; level <= kMissingLevels; ++level) {
          const Calibration::Judgement judged = calibration.Judge(1, segment, level);
          Require(judged.threshold > 0 && judged.p_value >= 0 && judged.p_value <= 1);
        }
      }
      Require(Calibration::FromState(calibration.ToState()).ok());
      CalibrationSamples samples = calibration.ToSamples();
      Require(samples.Merge(calibration.ToSamples()).ok());
    }
    WriteBytes(path, original);
    WriteBytes(path_ / kManifestFile.name, manifest_text_);
    return detector.status();
  }

 private:
  TemporaryFolder folder_;
  std::filesystem::path path_;
  std::string manifest_text_;
  v1::Manifest manifest_;
};

}  // namespace
}  // namespace astray

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static astray::Artifact artifact;
  const size_t file = data[0] % (astray::kListedFiles.size() + 1);
  const std::string content(reinterpret_cast<const char*>(data) + 1, size - 1);
  const absl::Status status = artifact.ReadWith(file, content);
  astray::Require(status.ok() || status.message().find(artifact.path().string()) != absl::string_view::npos);
  return 0;
}
