// An artifact in a folder of its own, for tests that damage it.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "astray/v1/artifact.pb.h"
#include "tests/engine/detect/small_detector.h"

namespace astray {

// An empty folder under testing::TempDir(), unlike any other.
std::filesystem::path UniqueFolder();

std::string ReadBytes(const std::filesystem::path& path);
void WriteBytes(const std::filesystem::path& path, const std::string& bytes);

// Writes MakeSmallDetector(options) under UniqueFolder(); gives .../pump/1.
std::filesystem::path WriteSmallArtifact(const SmallDetectorOptions& options = {});

// Replaces one file and makes the manifest agree with it, as one with bad intentions would.
void Forge(const std::filesystem::path& artifact, const std::string& file, const std::string& bytes);

// Writes a manifest of this text, with the checksum line that belongs to it.
void WriteManifest(const std::filesystem::path& artifact, const std::string& text);

// Changes the manifest, and its checksum line with it.
void EditManifest(const std::filesystem::path& artifact, const std::function<void(v1::Manifest&)>& edit);

}  // namespace astray
