#include "engine/detect/artifact.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <iterator>
#include <limits>
#include <system_error>
#include <thread>

#include "engine/base/sha256.h"
#include "google/protobuf/util/message_differencer.h"
#include "tests/engine/detect/artifact_folder.h"
#include "tests/engine/detect/small_detector.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kFiles[] = {"recipe.textproto", "network.pb", "weights.bin", "pipeline.pb",
                                  "calibration.pb",   "golden.pb",  "report.json", "manifest.textproto"};

std::vector<Verdict> Verdicts(const Detector& detector, const std::vector<float>& rows) {
  ScoreResult result;
  EXPECT_TRUE(detector.Score(rows, {}, &result).ok());
  return result.verdicts;
}

TEST(Artifact, ReadsBackTheSameDetectorBitForBit) {
  for (const v1::ScoreKind kind : {v1::MEAN_SQUARED, v1::FEATURE_NORMALISED, v1::WINDOW_NORMALISED}) {
    const SmallDetectorOptions options = {
        .window = 4, .kind = kind, .rules = kind == v1::MEAN_SQUARED ? "rule { ignore_below_ratio: 0.05 }" : ""};
    const auto written = MakeSmallDetector(options);
    const auto read = ReadArtifact(SmallArtifact(options).path());
    ASSERT_TRUE(read.ok()) << read.status();
    const std::vector<float> rows = SmallRows(50, 3);
    const std::vector<Verdict> expected = Verdicts(*written, rows);
    const std::vector<Verdict> got = Verdicts(**read, rows);
    ASSERT_EQ(got.size(), expected.size());
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].error, expected[i].error);
      EXPECT_EQ(got[i].score, expected[i].score);
      EXPECT_EQ(got[i].p_value, expected[i].p_value);
    }
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals((*read)->model().recipe, written->model().recipe));
    EXPECT_EQ((*read)->calibration().threshold(), written->calibration().threshold());
    EXPECT_EQ((*read)->calibration().epoch(), 1u);
  }
}

TEST(Artifact, KeepsWhatHindsightTakes) {
  for (const v1::ScoreKind kind : {v1::WINDOW_SCALES, v1::WINDOW_NORMALISED}) {
    const SmallDetectorOptions options = {.window = 4, .kind = kind, .t_squared_rows = 2, .hindsight = true};
    const auto written = MakeSmallDetector(options);
    const auto read = ReadArtifact(SmallArtifact(options).path());
    ASSERT_TRUE(read.ok()) << read.status();
    ASSERT_TRUE((*read)->model().hindsight.has_value());
    const HindsightModel &got = *(*read)->model().hindsight, &expected = *written->model().hindsight;
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(got.scale, expected.scale));
    EXPECT_TRUE(
        google::protobuf::util::MessageDifferencer::Equals(got.calibration.ToState(), expected.calibration.ToState()));
  }
  const auto without = ReadArtifact(SmallArtifact({.window = 4}).path());
  ASSERT_TRUE(without.ok()) << without.status();
  EXPECT_FALSE((*without)->model().hindsight.has_value()) << "as in artifacts from before";
}

TEST(Artifact, TakesNameAndVersionFromThePath) {
  const SmallArtifact artifact;
  const std::filesystem::path& path = artifact.path();
  for (const std::filesystem::path& spelling : {path, path / "", path / ".", path / ".." / "1"}) {
    const auto detector = ReadArtifact(spelling);
    ASSERT_TRUE(detector.ok()) << detector.status();
    EXPECT_EQ((*detector)->model().name, "pump");
    EXPECT_EQ((*detector)->model().version, 1);
    EXPECT_EQ((*detector)->model().artifact_sha256, Sha256Hex(ReadBytes(path / "manifest.textproto")));
  }
  const TemporaryFolder folder;
  const std::filesystem::path elsewhere = folder.path() / "downloaded";
  std::filesystem::copy(path, elsewhere);
  const auto detector = ReadArtifact(elsewhere);
  ASSERT_TRUE(detector.ok()) << detector.status();
  EXPECT_EQ((*detector)->model().name, "pump");
  EXPECT_EQ((*detector)->model().version, 0);
}

TEST(Artifact, TheSameDetectorGivesTheSameBytes) {
  const SmallArtifact first, second;
  for (const char* file : kFiles) EXPECT_EQ(ReadBytes(first.path() / file), ReadBytes(second.path() / file)) << file;
}

TEST(Artifact, HoldsTheFilesOfItsSpecAndNothingElse) {
  const SmallArtifact artifact;
  const std::filesystem::path& path = artifact.path();
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(path)) files.push_back(entry.path().filename().string());
  EXPECT_THAT(files, ::testing::UnorderedElementsAreArray(kFiles));
  const auto manifest = ReadManifest(path);
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->format_version(), 1u);
  EXPECT_EQ(manifest->files_size(), 7);
  EXPECT_FALSE(manifest->astray_version().empty());
}

TEST(Artifact, KeepsAServersCalibrationAsItsOwnFirstEpoch) {
  const auto detector = MakeSmallDetector();
  auto calibration = Calibration::Create(
      {1, 2, 3, 4}, 0.2, {.epoch = 9, .created_unix_seconds = 5, .artifact_sha256 = std::string(64, '0')});
  ASSERT_TRUE(calibration.ok());
  const auto other = detector->WithCalibration(std::make_shared<const Calibration>(*calibration));
  const TemporaryFolder folder;
  const auto path = WriteArtifact(folder.path(), *other, SmallRows(9, 2), SmallReport(), 0);
  ASSERT_TRUE(path.ok()) << path.status();
  const auto read = ReadArtifact(*path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ((*read)->calibration().threshold(), calibration->threshold());
  EXPECT_EQ((*read)->calibration().epoch(), 1u);
  EXPECT_EQ((*read)->calibration().origin().created_unix_seconds, 0);
  EXPECT_EQ((*read)->calibration().origin().artifact_sha256, "");
}

TEST(Artifact, KeepsTheReport) {
  const auto report = ReadReport(SmallArtifact().path());
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(*report, SmallReport()));
}

TEST(Artifact, TakesTheNextVersionOrTheOneAskedFor) {
  const TemporaryFolder temporary;
  const std::filesystem::path& base = temporary.path();
  const auto detector = MakeSmallDetector();
  const auto write = [&](int64_t version) {
    return WriteArtifact(base, *detector, SmallRows(9, 2), SmallReport(), version);
  };
  EXPECT_EQ(*write(0), base / "pump" / "1");
  EXPECT_EQ(*write(0), base / "pump" / "2");
  EXPECT_EQ(*write(17), base / "pump" / "17");
  EXPECT_EQ(*write(0), base / "pump" / "18");
  EXPECT_THAT(*ListVersions(base, "pump"), ElementsAre(1, 2, 17, 18));

  const auto taken = write(17).status();
  EXPECT_EQ(taken.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(taken.message()), HasSubstr("pump/17"));
  EXPECT_EQ(write(-1).status(), absl::InvalidArgumentError("version: expected at least 1, got -1"));
}

TEST(Artifact, WritersAtOnceTakeDifferentVersions) {
  const TemporaryFolder temporary;
  const std::filesystem::path& base = temporary.path();
  const auto detector = MakeSmallDetector();
  constexpr int kWriters = 4;
  std::vector<std::thread> threads;
  threads.reserve(kWriters);
  for (int i = 0; i < kWriters; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 3; ++k) {
        const auto path = WriteArtifact(base, *detector, SmallRows(9, 2), SmallReport(), 0);
        EXPECT_TRUE(path.ok()) << path.status();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ListVersions(base, "pump")->size(), 12u);
}

TEST(Artifact, RefusesGoldenRowsThatShowNothing) {
  const TemporaryFolder temporary;
  const std::filesystem::path& base = temporary.path();
  const auto status = WriteArtifact(base, *MakeSmallDetector(), SmallRows(2, 2), SmallReport(), 0).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("golden rows: expected at least 3"));
  EXPECT_TRUE(std::filesystem::is_empty(base));
}

TEST(Artifact, RefusesToWriteWhereItCannot) {
  const TemporaryFolder folder;
  const std::filesystem::path base = folder.path() / "file";
  WriteBytes(base, "not a folder");
  const auto status = WriteArtifact(base, *MakeSmallDetector(), SmallRows(9, 2), SmallReport(), 0).status();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr(base.string()));
}

TEST(ModelName, IsAFolderALabelAndAPartOfUrls) {
  for (const char* good : {"a", "pump", "pump-2", "0.valve_1"}) EXPECT_TRUE(CheckModelName(good).ok()) << good;
  EXPECT_TRUE(CheckModelName(std::string(63, 'x')).ok());
  for (const char* bad : {"", ".", "..", "-a", "_a", "Pump", "a/b", "a b", "ä", "a\n"}) {
    EXPECT_EQ(CheckModelName(bad).code(), absl::StatusCode::kInvalidArgument) << bad;
  }
  EXPECT_FALSE(CheckModelName(std::string(64, 'x')).ok());
}

TEST(ModelFolder, OnlyPositiveIntegersAreVersions) {
  const TemporaryFolder temporary;
  const std::filesystem::path& base = temporary.path();
  for (const char* folder : {"3", "10", "1", "0", "01", "-2", "+4", "1a", " 5", ".6.tmp", "calibrations", "1.5",
                             "9223372036854775807", "9223372036854775808", "99999999999999999999999"}) {
    std::filesystem::create_directories(base / "pump" / folder);
  }
  WriteBytes(base / "pump" / "7", "a file");
  std::filesystem::create_directory_symlink(base / "pump" / "3", base / "pump" / "8");
  EXPECT_THAT(*ListVersions(base, "pump"), ElementsAre(1, 3, 8, 10, std::numeric_limits<int64_t>::max()));
  EXPECT_EQ(ListVersions(base, "valve").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ListVersions(base, "../pump").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ModelFolder, ListsModelsByName) {
  const TemporaryFolder temporary;
  const std::filesystem::path& base = temporary.path();
  for (const char* folder : {"valve", "pump", "Bad", ".hidden"}) std::filesystem::create_directories(base / folder);
  WriteBytes(base / "file", "");
  EXPECT_THAT(*ListModelNames(base), ElementsAre("pump", "valve"));
  EXPECT_THAT(*ListModelNames(TemporaryFolder().path()), IsEmpty());
  EXPECT_EQ(ListModelNames(base / "none").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ListModelNames(base / "file").status().code(), absl::StatusCode::kNotFound);
}

// How many files the hidden folders under `path` hold.
size_t StagedFiles(const std::filesystem::path& path) {
  size_t files = 0;
  std::error_code ignored;  // the writer renames while we look
  for (const auto& folder : std::filesystem::directory_iterator(path, ignored)) {
    if (folder.path().filename().string().front() != '.') continue;
    std::filesystem::directory_iterator entries(folder.path(), ignored);
    for (; entries != std::filesystem::directory_iterator(); entries.increment(ignored)) ++files;
  }
  return files;
}

// Kills a writer after its first, second, … file: whatever is visible must be whole.
TEST(Artifact, AWriterThatIsKilledLeavesNoHalfVersion) {
  const auto detector = MakeSmallDetector();
  const std::vector<float> golden_rows = SmallRows(9, 2);
  for (size_t files = 1; files <= std::size(kFiles); ++files) {
    const TemporaryFolder temporary;
    const std::filesystem::path& base = temporary.path();
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      while (WriteArtifact(base, *detector, golden_rows, SmallReport(), 0).ok()) {
      }
      _exit(1);
    }
    int state = 0;
    while (StagedFiles(base / "pump") < files && waitpid(child, &state, WNOHANG) == 0) {
    }
    kill(child, SIGKILL);
    waitpid(child, &state, 0);
    ASSERT_TRUE(WIFSIGNALED(state)) << "the writer failed by itself";
    const auto versions = ListVersions(base, "pump");
    ASSERT_TRUE(versions.ok()) << versions.status();
    for (const int64_t version : *versions) {
      const auto read = ReadArtifact(base / "pump" / std::to_string(version));
      EXPECT_TRUE(read.ok()) << read.status();
    }
    // What the killed writer left behind is in nobody's way.
    EXPECT_TRUE(WriteArtifact(base, *detector, golden_rows, SmallReport(), 0).ok());
  }
}

}  // namespace
}  // namespace astray
