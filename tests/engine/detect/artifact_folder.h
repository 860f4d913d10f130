// An artifact in a folder of its own, for tests that damage it.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "astray/v1/artifact.pb.h"
#include "tests/engine/detect/small_detector.h"
#include "tests/testing/temporary_folder.h"

namespace astray {

std::string ReadBytes(const std::filesystem::path& path);
void WriteBytes(const std::filesystem::path& path, const std::string& bytes);

// MakeSmallDetector(options), written to a folder that goes with this.
class SmallArtifact {
 public:
  explicit SmallArtifact(const SmallDetectorOptions& options = {});

  const std::filesystem::path& path() const { return path_; }  // .../pump/1

 private:
  TemporaryFolder folder_;
  std::filesystem::path path_;
};

// Replaces one file and makes the manifest agree with it, as one with bad intentions would.
void Forge(const std::filesystem::path& artifact, const std::string& file, const std::string& bytes);

// Writes a manifest of this text, with the checksum line that belongs to it.
void WriteManifest(const std::filesystem::path& artifact, const std::string& text);

// Changes the manifest, and its checksum line with it.
void EditManifest(const std::filesystem::path& artifact, const std::function<void(v1::Manifest&)>& edit);

}  // namespace astray
