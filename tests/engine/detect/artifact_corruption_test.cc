// Everything that can be wrong with an artifact: refused with a message that names the file, never a crash.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <utility>

#include "astray/v1/calibration.pb.h"
#include "astray/v1/network.pb.h"
#include "astray/v1/pipeline.pb.h"
#include "engine/detect/artifact.h"
#include "tests/engine/detect/artifact_folder.h"
#include "tests/engine/detect/small_detector.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr const char* kListed[] = {"recipe.textproto", "network.pb", "weights.bin", "pipeline.pb",
                                   "calibration.pb",   "golden.pb",  "report.json"};
constexpr const char* kManifest = "manifest.textproto";

class ArtifactCorruption : public ::testing::Test {
 protected:
  void ExpectRefused(absl::StatusCode code, const std::string& file, const std::string& message) {
    const absl::Status status = ReadArtifact(path_).status();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr((path_ / file).string() + ": "));
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }

  // Reads `file` as a message, lets `edit` change it, and forges the manifest.
  template <typename Message, typename Edit>
  void ForgeMessage(const std::string& file, Edit edit) {
    Message message;
    ASSERT_TRUE(message.ParseFromString(ReadBytes(path_ / file)));
    edit(message);
    Forge(path_, file, message.SerializeAsString());
  }

  const SmallArtifact artifact_;
  const std::filesystem::path path_ = artifact_.path();
};

TEST_F(ArtifactCorruption, MissingFolderOrManifest) {
  const absl::Status status = ReadArtifact(path_ / ".." / "2").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr(kManifest));
  std::filesystem::remove(path_ / kManifest);
  ExpectRefused(absl::StatusCode::kNotFound, kManifest, "");
}

TEST_F(ArtifactCorruption, MissingFile) {
  for (const char* file : kListed) {
    const std::string bytes = ReadBytes(path_ / file);
    std::filesystem::remove(path_ / file);
    ExpectRefused(absl::StatusCode::kDataLoss, file, "missing");
    WriteBytes(path_ / file, bytes);
  }
  EXPECT_TRUE(ReadArtifact(path_).ok());
}

TEST_F(ArtifactCorruption, AFolderInPlaceOfAFile) {
  for (const char* file : {"weights.bin", "golden.pb", kManifest}) {
    const std::string bytes = ReadBytes(path_ / file);
    std::filesystem::remove(path_ / file);
    std::filesystem::create_directory(path_ / file);
    ExpectRefused(absl::StatusCode::kFailedPrecondition, file, "expected a regular file");
    std::filesystem::remove(path_ / file);
    WriteBytes(path_ / file, bytes);
  }
}

TEST_F(ArtifactCorruption, UnreadableFolder) {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "1", loop = folder.path() / "2";
  WriteBytes(file, "a file");
  EXPECT_FALSE(ReadArtifact(file).ok());
  std::filesystem::create_directory_symlink(loop, loop);
  const absl::Status status = ReadArtifact(loop).status();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr(loop.string()));
}

TEST_F(ArtifactCorruption, TruncatedOrExtendedFile) {
  for (const char* file : kListed) {
    const std::string bytes = ReadBytes(path_ / file);
    for (const size_t kept : {size_t{0}, bytes.size() / 2, bytes.size() - 1}) {
      WriteBytes(path_ / file, bytes.substr(0, kept));
      ExpectRefused(absl::StatusCode::kDataLoss, file, "expected " + std::to_string(bytes.size()) + " bytes");
    }
    WriteBytes(path_ / file, bytes + "x");
    ExpectRefused(absl::StatusCode::kDataLoss, file, "expected " + std::to_string(bytes.size()) + " bytes");
    WriteBytes(path_ / file, bytes);
  }
}

TEST_F(ArtifactCorruption, FlippedBit) {
  for (const char* file : kListed) {
    const std::string bytes = ReadBytes(path_ / file);
    const size_t step = std::max<size_t>(bytes.size() / 40, 1);
    for (size_t i = 0; i < bytes.size(); i += step) {
      std::string flipped = bytes;
      flipped[i] = static_cast<char>(flipped[i] ^ (1 << (i % 8)));
      WriteBytes(path_ / file, flipped);
      ExpectRefused(absl::StatusCode::kDataLoss, file, "expected SHA-256");
    }
    WriteBytes(path_ / file, bytes);
  }
}

// With the manifest forged to agree, the content itself has to be refused, or be a detector all the same.
TEST_F(ArtifactCorruption, FlippedOrTruncatedBehindAForgedManifest) {
  const std::string manifest = ReadBytes(path_ / kManifest);
  for (const char* file : kListed) {
    const std::string bytes = ReadBytes(path_ / file);
    const size_t step = std::max<size_t>(bytes.size() / 40, 1);
    for (size_t i = 0; i < bytes.size(); i += step) {
      std::string flipped = bytes;
      flipped[i] = static_cast<char>(flipped[i] ^ (1 << (i % 8)));
      for (const std::string& content : {flipped, bytes.substr(0, i)}) {
        Forge(path_, file, content);
        const absl::Status status = ReadArtifact(path_).status();
        if (status.ok()) continue;
        EXPECT_THAT(std::string(status.message()), HasSubstr(path_.string() + "/"));
      }
    }
    WriteBytes(path_ / file, bytes);
    WriteBytes(path_ / kManifest, manifest);
  }
  EXPECT_TRUE(ReadArtifact(path_).ok());
}

TEST_F(ArtifactCorruption, ManifestTruncatedOrFlipped) {
  const std::string manifest = ReadBytes(path_ / kManifest);
  std::vector<std::string> damaged;
  for (size_t i = 0; i < manifest.size(); i += 5) {
    damaged.push_back(manifest.substr(0, i));
    damaged.push_back(manifest);
    damaged.back()[i] = static_cast<char>(damaged.back()[i] ^ (1 << (i % 8)));
  }
  damaged.push_back(manifest.substr(0, manifest.size() - 1));
  damaged.push_back(manifest + "\n");
  for (const std::string& text : damaged) {
    WriteBytes(path_ / kManifest, text);
    const absl::Status status = ReadArtifact(path_).status();
    EXPECT_FALSE(status.ok()) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr((path_ / kManifest).string() + ": "));
  }
}

TEST_F(ArtifactCorruption, AnotherFormatVersion) {
  for (const uint32_t version : {0u, 2u, 4000000000u}) {
    EditManifest(path_, [&](v1::Manifest& m) { m.set_format_version(version); });
    ExpectRefused(absl::StatusCode::kFailedPrecondition, kManifest,
                  "format version " + std::to_string(version) + ": this astray reads version 1");
  }
}

// A future manifest may have fields that we have never heard of: its version must be what is complained about.
TEST_F(ArtifactCorruption, AFutureFormatVersionWithUnknownFields) {
  WriteBytes(path_ / kManifest,
             "format_version: 2\nshards: 12\ncompression { codec: ZSTD levels: [1, 2] }\n" + std::string("name: 'x'"));
  ExpectRefused(absl::StatusCode::kFailedPrecondition, kManifest, "format version 2: this astray reads version 1");
}

TEST_F(ArtifactCorruption, ManifestThatDoesNotParse) {
  const std::string manifest = ReadBytes(path_ / kManifest);
  WriteBytes(path_ / kManifest, "format_version: 1\nfiles {");
  ExpectRefused(absl::StatusCode::kDataLoss, kManifest, "line 2 column");
  WriteManifest(path_, manifest + "wndow: 3\n");
  ExpectRefused(absl::StatusCode::kDataLoss, kManifest, "wndow");
  WriteBytes(path_ / kManifest, std::string(5 << 20, '#'));
  ExpectRefused(absl::StatusCode::kFailedPrecondition, kManifest, "expected at most 4194304 bytes");
  std::string deep = "format_version: 1 x ";
  for (int i = 0; i < 100000; ++i) deep += "{ x ";
  WriteBytes(path_ / kManifest, deep);
  ExpectRefused(absl::StatusCode::kDataLoss, kManifest, "line 1");
}

TEST_F(ArtifactCorruption, ManifestThatListsOtherFiles) {
  const std::string manifest = ReadBytes(path_ / kManifest);
  EditManifest(path_, [](v1::Manifest& m) { m.mutable_files()->RemoveLast(); });
  ExpectRefused(absl::StatusCode::kDataLoss, kManifest, "files: expected 'report.json' once, got it 0 times");
  WriteBytes(path_ / kManifest, manifest);
  EditManifest(path_, [](v1::Manifest& m) { *m.add_files() = m.files(1); });
  ExpectRefused(absl::StatusCode::kDataLoss, kManifest, "files: expected 'network.pb' once, got it 2 times");
  WriteBytes(path_ / kManifest, manifest);
  EditManifest(path_, [](v1::Manifest& m) { m.add_files()->set_path("../../../etc/passwd"); });
  ExpectRefused(absl::StatusCode::kDataLoss, kManifest, "files: expected 7, got 8");
  WriteBytes(path_ / kManifest, manifest);
  EditManifest(path_, [](v1::Manifest& m) { m.mutable_files(2)->set_bytes(uint64_t{1} << 62); });
  ExpectRefused(absl::StatusCode::kDataLoss, "weights.bin", "expected at most 1073750016 bytes, the manifest says");
  WriteBytes(path_ / kManifest, manifest);
  EditManifest(path_, [](v1::Manifest& m) { m.set_name("../x"); });
  ExpectRefused(absl::StatusCode::kDataLoss, kManifest, "name: model name");
}

TEST_F(ArtifactCorruption, SwappedWeights) {
  const SmallArtifact other({.seed = 2});
  Forge(path_, "weights.bin", ReadBytes(other.path() / "weights.bin"));
  ExpectRefused(absl::StatusCode::kFailedPrecondition, "golden.pb", "does not reproduce the detector");
}

TEST_F(ArtifactCorruption, AnyFileOfAnotherDetector) {
  const SmallArtifact other({.window = 5, .seed = 2});
  for (const char* file : {"network.pb", "weights.bin", "pipeline.pb", "golden.pb"}) {
    const std::string bytes = ReadBytes(path_ / file);
    Forge(path_, file, ReadBytes(other.path() / file));
    const absl::Status status = ReadArtifact(path_).status();
    EXPECT_THAT(status.code(), AnyOf(absl::StatusCode::kDataLoss, absl::StatusCode::kFailedPrecondition)) << file;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path_.string() + "/"));
    Forge(path_, file, bytes);
  }
  EXPECT_TRUE(ReadArtifact(path_).ok());
}

TEST_F(ArtifactCorruption, WeightsThatAreNotFinite) {
  const std::string bytes = ReadBytes(path_ / "weights.bin");
  for (const float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
    std::string weights = bytes;
    std::memcpy(weights.data() + 40, &bad, sizeof bad);
    Forge(path_, "weights.bin", weights);
    ExpectRefused(absl::StatusCode::kDataLoss, "weights.bin", "encoder_0");
  }
}

TEST_F(ArtifactCorruption, WeightsThatDoNotFitTheLayers) {
  const std::string bytes = ReadBytes(path_ / "weights.bin");
  Forge(path_, "weights.bin", bytes + std::string(64, '\0'));
  ExpectRefused(
      absl::StatusCode::kDataLoss, "weights.bin",
      "expected " + std::to_string(bytes.size()) + " bytes for these layers, got " + std::to_string(bytes.size() + 64));
  Forge(path_, "weights.bin", "");
  ExpectRefused(absl::StatusCode::kDataLoss, "network.pb", "expected at most as many parameters");
}

// Nothing of the size that a small file claims may be allocated.
TEST_F(ArtifactCorruption, AbsurdLayers) {
  const auto sizes = [](uint32_t first, uint32_t last) {
    return [first, last](v1::NetworkSpec& spec) {
      spec.mutable_layers(0)->mutable_dense()->set_outputs(first);
      spec.mutable_layers(1)->mutable_dense()->set_inputs(first);
      spec.mutable_layers(3)->mutable_dense()->set_outputs(last);
    };
  };
  const std::string network = ReadBytes(path_ / "network.pb");
  for (const auto& [first, last] : {std::pair{65536u, 65536u}, std::pair{4294967295u, 4294967295u}, std::pair{0u, 9u},
                                    std::pair{16384u, 9u}, std::pair{8u, 4294967295u}}) {
    ForgeMessage<v1::NetworkSpec>("network.pb", sizes(first, last));
    ExpectRefused(absl::StatusCode::kDataLoss, "network.pb", "layer '");
    Forge(path_, "network.pb", network);
  }
  ForgeMessage<v1::NetworkSpec>("network.pb", [](v1::NetworkSpec& spec) { spec.clear_layers(); });
  ExpectRefused(absl::StatusCode::kDataLoss, "network.pb", "");
  Forge(path_, "network.pb", network);
  ForgeMessage<v1::NetworkSpec>("network.pb", [](v1::NetworkSpec& spec) { spec.set_code_layer(99); });
  ExpectRefused(absl::StatusCode::kDataLoss, "network.pb", "code");
  Forge(path_, "network.pb", network);
  ForgeMessage<v1::NetworkSpec>("network.pb", [](v1::NetworkSpec& spec) { spec.mutable_layers(2)->clear_dense(); });
  ExpectRefused(absl::StatusCode::kDataLoss, "network.pb", "");
}

TEST_F(ArtifactCorruption, PartsThatDoNotFitTogether) {
  const std::string pipeline = ReadBytes(path_ / "pipeline.pb");
  ForgeMessage<v1::PipelineState>(
      "pipeline.pb", [](v1::PipelineState& state) { state.mutable_transforms(1)->mutable_window()->set_rows(2); });
  ExpectRefused(absl::StatusCode::kDataLoss, "network.pb", "expected inputs and outputs of 6 (pipeline.pb's), got 9");
  ForgeMessage<v1::PipelineState>(
      "pipeline.pb", [](v1::PipelineState& state) { state.mutable_transforms(1)->mutable_window()->set_rows(100000); });
  ExpectRefused(absl::StatusCode::kDataLoss, "pipeline.pb", "window: expected 1 to 4096");
  Forge(path_, "pipeline.pb", pipeline);
  EditManifest(path_, [](v1::Manifest& m) { m.mutable_score()->add_residual_variance(1); });
  ExpectRefused(absl::StatusCode::kDataLoss, kManifest, "residual_variance: expected 9 values, got 10");
  EditManifest(path_, [](v1::Manifest& m) {
    m.mutable_score()->set_kind(v1::WINDOW_NORMALISED);
    m.mutable_score()->mutable_residual_variance()->RemoveLast();
  });
  ExpectRefused(absl::StatusCode::kDataLoss, kManifest, "level_variance: expected 3 values, got 0");
}

TEST_F(ArtifactCorruption, ContentThatDoesNotParse) {
  const std::string noise = "\xFF\xFF\xFF\xFF\xFF not a message";
  for (const char* file : {"network.pb", "pipeline.pb", "calibration.pb", "golden.pb"}) {
    const std::string bytes = ReadBytes(path_ / file);
    Forge(path_, file, noise);
    ExpectRefused(absl::StatusCode::kDataLoss, file, "expected a astray.v1.");
    Forge(path_, file, bytes);
  }
  Forge(path_, "recipe.textproto", "name: 'pump'\nwndow: 3\n");
  ExpectRefused(absl::StatusCode::kDataLoss, "recipe.textproto", "line 2");
  Forge(path_, "recipe.textproto", "name: 'pump'\nrule { feature: 'flwo' ignore_below: 1 }\n");
  ExpectRefused(absl::StatusCode::kDataLoss, "recipe.textproto",
                "rule[0].feature: expected a feature of the model, got 'flwo'; did you mean 'flow'?");
}

TEST_F(ArtifactCorruption, CalibrationThatIsNotTheArtifactsOwn) {
  ForgeMessage<v1::CalibrationState>("calibration.pb", [](v1::CalibrationState& state) { state.set_epoch(2); });
  ExpectRefused(absl::StatusCode::kDataLoss, "calibration.pb", "epoch: expected 1, got 2");
  ForgeMessage<v1::CalibrationState>("calibration.pb", [](v1::CalibrationState& state) { state.clear_errors(); });
  ExpectRefused(absl::StatusCode::kDataLoss, "calibration.pb", "errors: expected 1");
}

TEST_F(ArtifactCorruption, HindsightThatDoesNotFit) {
  const auto forge = [&](const std::function<void(v1::HindsightState&)>& edit) {
    ForgeMessage<v1::CalibrationState>("calibration.pb", [&](v1::CalibrationState& state) {
      state.clear_hindsight();
      const v1::CalibrationState own = state;
      *state.mutable_hindsight()->mutable_calibration() = own;
      edit(*state.mutable_hindsight());
    });
  };
  forge([](v1::HindsightState& state) { state.mutable_calibration()->clear_errors(); });
  ExpectRefused(absl::StatusCode::kDataLoss, "calibration.pb", "hindsight: errors: expected 1");
  forge([](v1::HindsightState& state) { state.mutable_scale()->add_variance(1); });
  ExpectRefused(absl::StatusCode::kDataLoss, "calibration.pb", "hindsight: variance: expected 0 values, got 1");
  forge([](v1::HindsightState& state) { state.mutable_scale()->add_rows_near(1'000'000); });
  ExpectRefused(absl::StatusCode::kDataLoss, "calibration.pb", "hindsight: rows_near 0: expected more than 0");
  forge([](v1::HindsightState& state) { state.mutable_scale()->set_first_place(1); });
  ExpectRefused(absl::StatusCode::kDataLoss, "calibration.pb", "hindsight: first_place: expected less than 1");
  forge([](v1::HindsightState& state) { state.mutable_scale()->mutable_subspace()->add_mean(1); });
  ExpectRefused(absl::StatusCode::kDataLoss, "calibration.pb", "hindsight: subspace: mean: expected");
  forge([](v1::HindsightState& /*state*/) {});
  EXPECT_TRUE(ReadArtifact(path_).ok());
}

TEST_F(ArtifactCorruption, ReportThatDoesNotParse) {
  Forge(path_, "report.json", "{ not json");
  const absl::Status status = ReadReport(path_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr((path_ / "report.json").string()));
}

}  // namespace
}  // namespace astray
