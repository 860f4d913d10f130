// Promotions of versions and calibrations, and their rollback, through the registry and its files.
#include "server/promotions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <optional>

#include "engine/base/random.h"
#include "server/detector_registry.h"
#include "tests/testing/temporary_folder.h"
#include "tests/testing/tiny_detector.h"

namespace astray {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

v1::ModelRef Ref(const std::string& name, int64_t version = 0) {
  v1::ModelRef ref;
  ref.set_name(name);
  if (version != 0) ref.set_version(version);
  return ref;
}

class Promotions : public testing::Test {
 protected:
  Promotions() {
    for (uint64_t seed = 1; seed <= 3; ++seed) WriteTinyArtifact(base_, {.seed = seed});
    Restart();
  }
  void Restart() {
    registry_.emplace(base_, &metrics_);
    EXPECT_TRUE(registry_->Poll().ok());
  }
  int64_t Live() { return registry_->Find(Ref("pump"))->detector->model().version; }
  uint64_t Epoch(int64_t version) { return registry_->Find(Ref("pump", version))->detector->calibration().epoch(); }
  uint64_t Change() { return registry_->Find(Ref("pump"))->change; }
  void AddEpoch(int64_t version, bool promote = false) {
    CalibrationSamples errors;
    for (size_t i = 1; i <= 50; ++i) errors.all.Add(static_cast<float>(i));
    const auto added =
        registry_->AddCalibration(*registry_->Find(Ref("pump", version))->detector, std::move(errors), 0.1, promote);
    EXPECT_TRUE(added.ok()) << added.status();
  }
  std::string Message(const absl::Status& status, absl::StatusCode code) {
    EXPECT_EQ(status.code(), code) << status;
    return std::string(status.message());
  }

  const TemporaryFolder folder_;
  const std::filesystem::path base_ = folder_.path();
  Metrics metrics_;
  std::optional<DetectorRegistry> registry_;
};

TEST_F(Promotions, APromotedVersionStaysLiveThoughNewerOnesCome) {
  const auto change = registry_->PromoteVersion("pump", 2, nullptr);
  ASSERT_TRUE(change.ok()) << change.status();
  EXPECT_EQ(change->previous_version(), 3);
  EXPECT_EQ(change->live_version(), 2);
  EXPECT_EQ(change->change(), 1u);
  WriteTinyArtifact(base_, {.seed = 4});
  ASSERT_TRUE(registry_->Poll().ok());
  EXPECT_EQ(Live(), 2);
  EXPECT_EQ(registry_->Find(Ref("pump", 4))->detector->model().version, 4);
  const v1::ModelSummary summary = registry_->List().models(0);
  for (const v1::VersionSummary& version : summary.versions()) EXPECT_EQ(version.live(), version.version() == 2);
  EXPECT_TRUE(registry_->Describe(Ref("pump"))->version().live());
  EXPECT_FALSE(registry_->Describe(Ref("pump", 4))->version().live());
  Restart();
  EXPECT_EQ(Live(), 2);
  EXPECT_EQ(registry_->Rollback(Ref("pump"))->live_version(), 4);  // the latest again, as before the first promotion
  WriteTinyArtifact(base_, {.seed = 5});
  ASSERT_TRUE(registry_->Poll().ok());
  EXPECT_EQ(Live(), 5);
}

TEST_F(Promotions, TheLatestCanBePromotedAndThatIsUndoneToo) {
  ASSERT_TRUE(registry_->PromoteVersion("pump", 1, nullptr).ok());
  EXPECT_EQ(registry_->PromoteVersion("pump", 0, nullptr)->live_version(), 3);
  EXPECT_EQ(registry_->Rollback(Ref("pump"))->live_version(), 1);
  EXPECT_EQ(registry_->Rollback(Ref("pump"))->live_version(), 3);
  EXPECT_THAT(Message(registry_->Rollback(Ref("pump")).status(), absl::StatusCode::kFailedPrecondition),
              HasSubstr("model 'pump' version 3: no promotion to undo"));
}

// Against a stack of whole states, with restarts in between.
TEST_F(Promotions, RollbackUndoesTheLastPromotionWhicheverItWas) {
  struct State {
    int64_t live = 3;
    std::array<uint64_t, 4> epochs = {0, 1, 1, 1};
    int64_t promoted = 0;
    bool operator==(const State&) const = default;
  };
  for (int64_t version = 1; version <= 3; ++version) {
    AddEpoch(version);
    AddEpoch(version);
  }
  State state;
  std::vector<State> before;
  Random random(7);
  for (int step = 0; step < 400; ++step) {
    const State old = state;
    const uint64_t dice = random.UniformInt(8);
    uint64_t change = Change();
    absl::StatusOr<v1::CalibrationChange> reply = absl::UnknownError("none");
    if (dice < 3) {
      reply = registry_->Rollback(Ref("pump"));
      if (before.empty()) {
        ASSERT_EQ(reply.status().code(), absl::StatusCode::kFailedPrecondition);
        ASSERT_EQ(Change(), change);
        continue;
      }
      state = before.back();
      before.pop_back();
    } else if (dice < 5) {
      state.promoted = static_cast<int64_t>(random.UniformInt(4));
      state.live = state.promoted == 0 ? 3 : state.promoted;
      reply = registry_->PromoteVersion("pump", state.promoted, nullptr);
    } else {
      const auto version = static_cast<int64_t>(1 + random.UniformInt(3));
      state.epochs[static_cast<size_t>(version)] = 1 + random.UniformInt(3);
      reply = registry_->Promote(Ref("pump", version), state.epochs[static_cast<size_t>(version)], nullptr);
    }
    if (dice >= 3 && state != old) before.push_back(old);
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_EQ(reply->change(), ++change);
    EXPECT_EQ(reply->previous_version(), old.live);
    EXPECT_EQ(reply->live_version(), state.live);
    if (step % 50 == 49) Restart();
    EXPECT_EQ(Change(), change);
    ASSERT_EQ(Live(), state.live) << step;
    for (int64_t v = 1; v <= 3; ++v) ASSERT_EQ(Epoch(v), state.epochs[static_cast<size_t>(v)]) << step;
  }
  EXPECT_GT(before.size(), 3u);
}

TEST_F(Promotions, OfAVersionOnlyItsCalibrationsAreRolledBack) {
  AddEpoch(1, true);
  AddEpoch(2, true);
  ASSERT_TRUE(registry_->PromoteVersion("pump", 1, nullptr).ok());
  EXPECT_EQ(registry_->Rollback(Ref("pump", 1))->live().epoch(), 1u);
  EXPECT_EQ(Live(), 1);
  EXPECT_EQ(registry_->Rollback(Ref("pump", 1)).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(registry_->Rollback(Ref("pump"))->live_version(), 3);
  EXPECT_EQ(registry_->Rollback(Ref("pump"))->version(), 2);  // its calibration
  EXPECT_EQ(Epoch(2), 1u);
  EXPECT_FALSE(registry_->Rollback(Ref("pump")).ok());
}

TEST_F(Promotions, WhereThePromotedVersionDoesNotServeTheOnePromotedBeforeDoes) {
  ASSERT_TRUE(registry_->PromoteVersion("pump", 1, nullptr).ok());
  ASSERT_TRUE(registry_->PromoteVersion("pump", 2, nullptr).ok());
  ASSERT_TRUE(registry_->Unload("pump", 2).ok());
  EXPECT_EQ(Live(), 1);
  ASSERT_TRUE(registry_->Unload("pump", 1).ok());
  EXPECT_EQ(Message(registry_->Find(Ref("pump")).status(), absl::StatusCode::kNotFound),
            "model 'pump': version 2 (promoted): unloaded; versions served: 3");
  EXPECT_TRUE(registry_->Find(Ref("pump", 3)).ok());
  // Rolling back to what does not serve is refused and changes nothing.
  EXPECT_EQ(registry_->Rollback(Ref("pump")).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(registry_->Load("pump").ok());
  EXPECT_EQ(Live(), 2);
  EXPECT_EQ(Message(registry_->PromoteVersion("pump", 9, nullptr).status(), absl::StatusCode::kNotFound),
            "model 'pump': version 9: not found; versions served: 1, 2, 3");
  EXPECT_EQ(registry_->PromoteVersion("valve", 0, nullptr).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(Promotions, AVersionThatIsGoneIsPassedOver) {
  AddEpoch(3, true);
  AddEpoch(1, true);
  std::filesystem::remove_all(base_ / "pump/1");
  ASSERT_TRUE(registry_->Poll().ok());
  EXPECT_EQ(registry_->Rollback(Ref("pump"))->version(), 3);
  EXPECT_EQ(Epoch(3), 1u);
}

TEST_F(Promotions, StatesOfBeforeTheOrderWasKeptRollBackTheLiveVersionsCalibrations) {
  AddEpoch(3);
  AddEpoch(3);
  const std::string sha = registry_->Find(Ref("pump", 3))->detector->model().artifact_sha256;
  std::ofstream(base_ / "pump/serving.textproto")
      << "versions { version: 3 artifact_sha256: '" << sha << "' promoted_epochs: [2, 3] }\n";
  ASSERT_TRUE(registry_->Poll().ok());
  EXPECT_EQ(Epoch(3), 3u);
  EXPECT_EQ(registry_->Rollback(Ref("pump"))->live().epoch(), 2u);
  EXPECT_EQ(registry_->Rollback(Ref("pump"))->live().epoch(), 1u);
  EXPECT_FALSE(registry_->Rollback(Ref("pump")).ok());
}

TEST_F(Promotions, TheChangeNeverGoesBackThoughTheFileDoes) {
  ASSERT_TRUE(registry_->PromoteVersion("pump", 1, nullptr).ok());
  ASSERT_TRUE(registry_->SetLabel("pump", "stable", 2).ok());
  EXPECT_EQ(Change(), 2u);
  std::filesystem::remove(base_ / "pump/serving.textproto");
  ASSERT_TRUE(registry_->Poll().ok());
  EXPECT_EQ(Live(), 3);
  EXPECT_EQ(Change(), 2u);
  EXPECT_EQ(registry_->PromoteVersion("pump", 2, nullptr)->change(), 3u);
}

class KeptCalibrations : public Promotions {
 protected:
  KeptCalibrations() { Restart(3); }
  void Restart(size_t keep) {
    registry_.emplace(base_, &metrics_, keep);
    EXPECT_TRUE(registry_->Poll().ok());
  }
  std::vector<uint64_t> Files() { return *CalibrationStore(base_).ListEpochs("pump", 3); }
  void Promote(uint64_t epoch) { ASSERT_TRUE(registry_->Promote(Ref("pump", 3), epoch, nullptr).ok()); }
};

TEST_F(KeptCalibrations, WhatIsLiveOrInShadowOrComesBackStaysWithTheNewest) {
  for (int i = 0; i < 4; ++i) AddEpoch(3);
  EXPECT_THAT(Files(), ElementsAre(3, 4, 5));
  Promote(3);
  Promote(4);
  v1::SetShadowRequest shadow;
  shadow.set_name("pump");
  shadow.set_epoch(5);
  ASSERT_TRUE(registry_->SetShadow(shadow).ok());
  for (int i = 0; i < 6; ++i) AddEpoch(3);
  EXPECT_THAT(Files(), ElementsAre(3, 4, 5, 9, 10, 11));
  AddEpoch(2);  // of another version
  EXPECT_THAT(Files(), ElementsAre(3, 4, 5, 9, 10, 11));
  Restart(3);
  EXPECT_EQ(Epoch(3), 4u);
  EXPECT_EQ(registry_->Rollback(Ref("pump", 3))->live().epoch(), 3u);
  EXPECT_EQ(registry_->Rollback(Ref("pump", 3))->live().epoch(), 1u);
  AddEpoch(3);
  EXPECT_THAT(Files(), ElementsAre(5, 10, 11, 12));
}

TEST_F(KeptCalibrations, EachPromotedAtOnceTheLastCanBeTakenBack) {
  for (int i = 0; i < 20; ++i) AddEpoch(3, true);
  EXPECT_THAT(Files(), ElementsAre(19, 20, 21));
  Restart(3);
  EXPECT_EQ(Epoch(3), 21u);
  EXPECT_EQ(registry_->Rollback(Ref("pump"))->live().epoch(), 20u);
  EXPECT_EQ(registry_->Rollback(Ref("pump"))->live().epoch(), 19u);
  // Nothing older is remembered: the artifact's own is always there.
  EXPECT_EQ(registry_->Rollback(Ref("pump"))->live().epoch(), 1u);
  EXPECT_EQ(registry_->Rollback(Ref("pump")).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(KeptCalibrations, OneIsEnoughForARollback) {
  Restart(1);
  for (int i = 0; i < 5; ++i) AddEpoch(3, true);
  EXPECT_THAT(Files(), ElementsAre(5, 6));
  EXPECT_EQ(registry_->Rollback(Ref("pump"))->live().epoch(), 5u);
}

TEST_F(KeptCalibrations, ZeroKeepsAll) {
  Restart(0);
  for (int i = 0; i < 30; ++i) AddEpoch(3, true);
  EXPECT_EQ(Files().size(), 30u);
}

TEST_F(KeptCalibrations, AFolderOfBeforeIsPrunedByTheNextCalibration) {
  Restart(0);
  for (int i = 0; i < 30; ++i) AddEpoch(3, true);
  Restart(3);
  EXPECT_EQ(Files().size(), 30u);
  AddEpoch(3);  // all thirty can be taken back until another one is promoted
  EXPECT_EQ(Files().size(), 31u);
  AddEpoch(3, true);
  EXPECT_THAT(Files(), ElementsAre(30, 31, 32, 33));
  EXPECT_EQ(registry_->Rollback(Ref("pump"))->live().epoch(), 31u);
}

TEST_F(KeptCalibrations, WhereTheStateCannotBeReadNothingIsRemoved) {
  for (int i = 0; i < 3; ++i) AddEpoch(3, true);
  std::ofstream(base_ / "pump/serving.textproto") << "versions {";
  AddEpoch(3);
  EXPECT_THAT(Files(), ElementsAre(2, 3, 4, 5));
}

TEST_F(KeptCalibrations, OneThatCannotBeRemovedIsNoErrorOfTheCalibration) {
  std::filesystem::create_directories(base_ / "pump/calibrations/3-2.pb/in-the-way");
  for (int i = 0; i < 5; ++i) AddEpoch(3);
  EXPECT_THAT(Files(), ElementsAre(2, 5, 6, 7));
}

// Files go one by one, the oldest first: of whatever is left the same is live, and rollback comes to the same.
TEST_F(KeptCalibrations, ACrashBetweenRemovalsLeavesAllThatIsNamed) {
  for (int i = 0; i < 12; ++i) AddEpoch(3, i < 4);
  const std::vector<uint64_t> after = Files();
  EXPECT_THAT(after, ElementsAre(3, 4, 5, 11, 12, 13));
  for (uint64_t left = 2; left < 12; ++left) {  // not yet removed
    const auto path = base_ / ("pump/calibrations/3-" + std::to_string(left) + ".pb");
    if (!std::filesystem::exists(path)) std::ofstream(path) << "cut";
    Restart(3);
    EXPECT_EQ(Epoch(3), 5u);
    EXPECT_EQ(registry_->Rollback(Ref("pump", 3))->live().epoch(), 4u);
    Promote(5);
  }
  AddEpoch(3);
  EXPECT_THAT(Files(), ElementsAre(3, 4, 5, 12, 13, 14));
}

TEST(PromotionLists, NameEveryEpochOfAVersion) {
  v1::ServingState state;
  AddPromotedEpoch(1, "a", 4, &state);
  AddPromotedEpoch(1, "a", 2, &state);
  AddPromotedEpoch(2, "b", 9, &state);
  state.mutable_shadow()->set_version(1);
  EXPECT_THAT(NamedEpochs(state, 1), ElementsAre(4, 2));
  state.mutable_shadow()->set_epoch(7);
  EXPECT_THAT(NamedEpochs(state, 1), ElementsAre(4, 2, 7));
  EXPECT_THAT(NamedEpochs(state, 2), ElementsAre(9));
  EXPECT_THAT(NamedEpochs(state, 3), ElementsAre());
}

TEST(PromotionLists, KeepTheNewest) {
  v1::ServingState state;
  for (uint64_t epoch = 2; epoch < 2 + 3 * kMaxPromotions; ++epoch) AddPromotedEpoch(1, "a", epoch, &state);
  const std::vector<uint64_t> epochs = PromotedEpochs(state, 1, "a");
  ASSERT_EQ(epochs.size(), kMaxPromotions);
  EXPECT_EQ(epochs.back(), 1 + 3 * kMaxPromotions);
  EXPECT_EQ(epochs.front(), 2 + 2 * kMaxPromotions);
  for (int64_t i = 0; i < 5000; ++i) AddPromotedVersion(i % 7, &state);
  EXPECT_EQ(static_cast<size_t>(state.promoted_versions_size()), kMaxPromotions);
  EXPECT_LE(state.promotion_order_size(), 1024);
  // Another artifact of the version begins anew.
  AddPromotedEpoch(1, "b", 9, &state);
  EXPECT_THAT(PromotedEpochs(state, 1, "b"), ElementsAre(9));
  EXPECT_THAT(PromotedEpochs(state, 1, "a"), ElementsAre());
}

}  // namespace
}  // namespace astray
