// Names and limits of an artifact's files, for its reader and writer (docs/artifact-format.md is the spec).
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "engine/nn/network.h"

namespace astray {

static_assert(std::endian::native == std::endian::little, "weights.bin is little-endian and read as it is");

struct ArtifactFile {
  const char* name;
  uint64_t max_bytes;  // nothing larger is read or written
};

// Two tensors a layer, each padded to AlignedBuffer::kAlignment.
inline constexpr uint64_t kWeightsMaxBytes =
    sizeof(float) * kMaxParameters + 2 * kMaxLayers * AlignedBuffer::kAlignment;

inline constexpr ArtifactFile kManifestFile = {"manifest.textproto", uint64_t{4} << 20};
inline constexpr ArtifactFile kRecipeFile = {"recipe.textproto", uint64_t{256} << 10};
inline constexpr ArtifactFile kNetworkFile = {"network.pb", uint64_t{64} << 10};
inline constexpr ArtifactFile kWeightsFile = {"weights.bin", kWeightsMaxBytes};
inline constexpr ArtifactFile kPipelineFile = {"pipeline.pb", uint64_t{64} << 20};
inline constexpr ArtifactFile kCalibrationFile = {"calibration.pb", uint64_t{64} << 20};
inline constexpr ArtifactFile kGoldenFile = {"golden.pb", uint64_t{32} << 20};
inline constexpr ArtifactFile kReportFile = {"report.json", uint64_t{16} << 20};

// What a manifest lists: each of these once, and nothing else.
inline constexpr std::array<ArtifactFile, 7> kListedFiles = {
    kRecipeFile, kNetworkFile, kWeightsFile, kPipelineFile, kCalibrationFile, kGoldenFile, kReportFile};

// The manifest's last line: the SHA-256 of everything above it, as a comment.
std::string ManifestChecksumLine(absl::string_view text_above);

}  // namespace astray
