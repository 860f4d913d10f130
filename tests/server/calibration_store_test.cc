#include "server/calibration_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "engine/base/file.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kSha256(64, 'a');

Calibration MakeCalibration(uint64_t epoch) {
  std::vector<float> errors;
  for (uint64_t i = 1; i <= 200; ++i) errors.push_back(static_cast<float>(i * epoch));
  return *Calibration::Create(errors, 0.05, {epoch, 1700000000, kSha256});
}

v1::ServingState MakeState(uint64_t epoch) {
  v1::ServingState state;
  v1::VersionState* version = state.add_versions();
  version->set_version(1);
  version->set_artifact_sha256(kSha256);
  version->add_promoted_epochs(epoch);
  return state;
}

class CalibrationStoreTest : public testing::Test {
 protected:
  CalibrationStoreTest() { std::filesystem::create_directory(base_ / "pump"); }

  const TemporaryFolder folder_;
  const std::filesystem::path base_ = folder_.path();
  CalibrationStore store_{base_};
};

TEST_F(CalibrationStoreTest, ACalibrationComesBackAsItWasSaved) {
  ASSERT_TRUE(store_.Save("pump", 1, MakeCalibration(7)).ok());
  const auto read = store_.Read("pump", 1, 7);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->threshold(), MakeCalibration(7).threshold());
  EXPECT_EQ(read->samples(), 200u);
  EXPECT_EQ(read->origin().artifact_sha256, kSha256);
  EXPECT_EQ(read->origin().created_unix_seconds, 1700000000);
}

TEST_F(CalibrationStoreTest, EpochsAreThoseOfTheVersionInOrder) {
  for (const uint64_t epoch : {10, 2, 3}) ASSERT_TRUE(store_.Save("pump", 1, MakeCalibration(epoch)).ok());
  ASSERT_TRUE(store_.Save("pump", 11, MakeCalibration(4)).ok());
  std::ofstream(base_ / "pump/calibrations/1-x.pb") << "?";
  EXPECT_THAT(*store_.ListEpochs("pump", 1), ElementsAre(2, 3, 10));
  EXPECT_THAT(*store_.ListEpochs("pump", 2), ElementsAre());
  EXPECT_THAT(*store_.ListEpochs("other", 1), ElementsAre());
}

TEST_F(CalibrationStoreTest, PruneLeavesTheNewestAndTheNamedOfOneVersion) {
  for (const uint64_t epoch : {2, 3, 4, 9, 10, 11}) ASSERT_TRUE(store_.Save("pump", 1, MakeCalibration(epoch)).ok());
  ASSERT_TRUE(store_.Save("pump", 11, MakeCalibration(2)).ok());
  std::ofstream(base_ / "pump/calibrations/1-x.pb") << "?";
  std::ofstream(base_ / "pump/calibrations/1-5.pb") << "damaged";
  EXPECT_EQ(*store_.Prune("pump", 1, 2, {3, 1, 77}), 4u);
  EXPECT_THAT(*store_.ListEpochs("pump", 1), ElementsAre(3, 10, 11));
  EXPECT_THAT(*store_.ListEpochs("pump", 11), ElementsAre(2));
  EXPECT_TRUE(std::filesystem::exists(base_ / "pump/calibrations/1-x.pb"));
  EXPECT_EQ(*store_.Prune("pump", 1, 2, {3}), 0u);
  EXPECT_EQ(*store_.Prune("pump", 1, 100, {}), 0u);
  // The newest stays whatever is asked for: the next epoch is counted from it.
  EXPECT_EQ(*store_.Prune("pump", 1, 0, {}), 2u);
  EXPECT_THAT(*store_.ListEpochs("pump", 1), ElementsAre(11));
  EXPECT_EQ(*store_.Prune("gone", 1, 2, {}), 0u);
}

TEST_F(CalibrationStoreTest, WhatCannotBeRemovedIsNamedAndTheRestGoes) {
  for (const uint64_t epoch : {2, 4, 5}) ASSERT_TRUE(store_.Save("pump", 1, MakeCalibration(epoch)).ok());
  std::filesystem::create_directories(base_ / "pump/calibrations/1-3.pb/in-the-way");
  const absl::Status status = store_.Prune("pump", 1, 1, {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("1-3.pb"));
  EXPECT_THAT(*store_.ListEpochs("pump", 1), ElementsAre(3, 5));
}

TEST_F(CalibrationStoreTest, EveryFlippedOrMissingByteIsRefused) {
  ASSERT_TRUE(store_.Save("pump", 1, MakeCalibration(2)).ok());
  const std::filesystem::path path = base_ / "pump/calibrations/1-2.pb";
  const std::string good = *ReadFile(path, 1 << 20);
  for (size_t i = 0; i < good.size(); i += 13) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x10);
    ASSERT_TRUE(WriteFileAtomically(path, bad).ok());
    const auto read = store_.Read("pump", 1, 2);
    ASSERT_EQ(read.status().code(), absl::StatusCode::kDataLoss) << "byte " << i;
    EXPECT_THAT(std::string(read.status().message()), HasSubstr("1-2.pb"));
    ASSERT_TRUE(WriteFileAtomically(path, good.substr(0, i)).ok());
    ASSERT_FALSE(store_.Read("pump", 1, 2).ok()) << "cut to " << i;
  }
}

TEST_F(CalibrationStoreTest, AFileUnderAnotherEpochsNameIsRefused) {
  ASSERT_TRUE(store_.Save("pump", 1, MakeCalibration(2)).ok());
  std::filesystem::copy_file(base_ / "pump/calibrations/1-2.pb", base_ / "pump/calibrations/1-3.pb");
  EXPECT_THAT(std::string(store_.Read("pump", 1, 3).status().message()), HasSubstr("epoch: expected 3, got 2"));
}

TEST_F(CalibrationStoreTest, ACorruptServingStateNamesFileAndLine) {
  EXPECT_TRUE(store_.ReadServingState("pump").ok());  // none yet
  std::ofstream(base_ / "pump/serving.textproto") << "versions { version: 1 }\nlabls {}\n";
  const auto state = store_.ReadServingState("pump");
  EXPECT_EQ(state.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(state.status().message()), HasSubstr("serving.textproto:2:"));
}

TEST_F(CalibrationStoreTest, AFolderThatCannotBeWrittenIsAFailedPrecondition) {
  EXPECT_EQ(store_.Save("gone", 1, MakeCalibration(2)).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(store_.WriteServingState("gone", MakeState(2)).code(), absl::StatusCode::kFailedPrecondition);
}

// A process that saves, promotes and prunes one epoch after the other is killed at moments that differ.
TEST_F(CalibrationStoreTest, KilledAtAnyMomentItLeavesTheOldOrTheNewState) {
  uint64_t reached = 1;
  for (int round = 0; round < 30; ++round) {
    int pipe_ends[2];
    ASSERT_EQ(pipe(pipe_ends), 0);
    const uint64_t first = reached + 1;
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      close(pipe_ends[0]);
      for (uint64_t epoch = first;; ++epoch) {
        const bool saved = store_.Save("pump", 1, MakeCalibration(epoch)).ok();
        if (!saved || !store_.WriteServingState("pump", MakeState(epoch)).ok()) _exit(1);
        if (!store_.Prune("pump", 1, 1, {epoch}).ok()) _exit(3);
        if (write(pipe_ends[1], &epoch, sizeof(epoch)) < 0) _exit(2);
      }
    }
    close(pipe_ends[1]);
    uint64_t acknowledged = reached;
    for (int i = 0; i <= round % 3; ++i) {
      ASSERT_EQ(read(pipe_ends[0], &acknowledged, sizeof(acknowledged)), static_cast<ssize_t>(sizeof(acknowledged)));
    }
    for (volatile int spin = 0; spin < round * 20000;) spin = spin + 1;
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    uint64_t late = 0;
    while (read(pipe_ends[0], &late, sizeof(late)) == static_cast<ssize_t>(sizeof(late))) acknowledged = late;
    close(pipe_ends[0]);

    const auto state = store_.ReadServingState("pump");
    ASSERT_TRUE(state.ok()) << state.status();
    const uint64_t promoted = state->versions(0).promoted_epochs(0);
    ASSERT_TRUE(promoted == acknowledged || promoted == acknowledged + 1) << promoted << " after " << acknowledged;
    const auto calibration = store_.Read("pump", 1, promoted);
    ASSERT_TRUE(calibration.ok()) << calibration.status();
    EXPECT_EQ(calibration->threshold(), MakeCalibration(promoted).threshold());
    reached = promoted + 1;  // its file may be there
  }
}

}  // namespace
}  // namespace astray
