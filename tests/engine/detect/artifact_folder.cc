#include "tests/engine/detect/artifact_folder.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <limits>

#include "engine/base/sha256.h"
#include "engine/detect/artifact.h"
#include "engine/detect/artifact_format.h"
#include "google/protobuf/text_format.h"

namespace astray {

std::string ReadBytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void WriteBytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << bytes;
  ASSERT_TRUE(out.good()) << path;
}

SmallArtifact::SmallArtifact(const SmallDetectorOptions& options) {
  const auto detector = MakeSmallDetector(options);
  std::vector<float> rows = SmallRows(options.window + 4, 2);
  rows[1] = std::numeric_limits<float>::quiet_NaN();
  const auto path = WriteArtifact(folder_.path(), *detector, rows, SmallReport(), 0);
  EXPECT_TRUE(path.ok()) << path.status();
  path_ = *path;
}

void EditManifest(const std::filesystem::path& artifact, const std::function<void(v1::Manifest&)>& edit) {
  v1::Manifest manifest;
  const std::filesystem::path path = artifact / "manifest.textproto";
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(ReadBytes(path), &manifest));
  edit(manifest);
  std::string text;
  google::protobuf::TextFormat::PrintToString(manifest, &text);
  WriteManifest(artifact, text);
}

void WriteManifest(const std::filesystem::path& artifact, const std::string& text) {
  WriteBytes(artifact / "manifest.textproto", text + ManifestChecksumLine(text));
}

void Forge(const std::filesystem::path& artifact, const std::string& file, const std::string& bytes) {
  WriteBytes(artifact / file, bytes);
  EditManifest(artifact, [&](v1::Manifest& manifest) {
    for (v1::ManifestFile& entry : *manifest.mutable_files()) {
      if (entry.path() != file) continue;
      entry.set_bytes(bytes.size());
      entry.set_sha256(Sha256Hex(bytes));
    }
  });
}

}  // namespace astray
