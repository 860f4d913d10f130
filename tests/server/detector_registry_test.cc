#include "server/detector_registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

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

v1::ModelRef LabelRef(const std::string& name, const std::string& label) {
  v1::ModelRef ref;
  ref.set_name(name);
  ref.set_label(label);
  return ref;
}

void Append(const std::filesystem::path& path, const std::string& text) { std::ofstream(path, std::ios::app) << text; }

class DetectorRegistryTest : public testing::Test {
 protected:
  int64_t Latest() { return registry_.Find(Ref("pump"))->detector->model().version; }
  std::string Sha() { return registry_.Find(Ref("pump"))->detector->model().artifact_sha256; }
  CalibrationSamples Errors(size_t n) {
    CalibrationSamples samples;
    for (size_t i = 1; i <= n; ++i) samples.all.Add(static_cast<float>(i));
    return samples;
  }
  uint64_t LiveEpoch(DetectorRegistry& registry) { return registry.Find(Ref("pump"))->detector->calibration().epoch(); }
  std::shared_ptr<const Calibration> Add(size_t n, bool promote) {
    auto added = registry_.AddCalibration(*registry_.Find(Ref("pump"))->detector, Errors(n), 0.1, promote);
    EXPECT_TRUE(added.ok()) << added.status();
    return *added;
  }

  const TemporaryFolder folder_;
  const std::filesystem::path base_ = folder_.path();
  Metrics metrics_;
  DetectorRegistry registry_{base_, &metrics_};
};

TEST_F(DetectorRegistryTest, TheLatestVersionServesByDefaultAndNewOnesAreFound) {
  WriteTinyArtifact(base_);
  EXPECT_FALSE(registry_.ready());
  ASSERT_TRUE(registry_.Poll().ok());
  EXPECT_TRUE(registry_.ready());
  EXPECT_EQ(Latest(), 1);
  WriteTinyArtifact(base_, {.seed = 2});
  ASSERT_TRUE(registry_.Poll().ok());
  EXPECT_EQ(Latest(), 2);
  EXPECT_EQ(registry_.Find(Ref("pump", 1))->detector->model().version, 1);
}

TEST_F(DetectorRegistryTest, AnEmptyFolderIsReadyAndABrokenModelIsNot) {
  const TemporaryFolder nothing;
  DetectorRegistry empty(nothing.path(), &metrics_);
  ASSERT_TRUE(empty.Poll().ok());
  EXPECT_TRUE(empty.ready());
  Append(WriteTinyArtifact(base_) / "weights.bin", "x");
  ASSERT_TRUE(registry_.Poll().ok());
  EXPECT_FALSE(registry_.ready());
  const absl::Status status = registry_.Find(Ref("pump")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("version 1: failed to load: "));
  EXPECT_THAT(std::string(status.message()), HasSubstr("weights.bin"));
}

TEST_F(DetectorRegistryTest, UnknownNamesVersionsAndLabelsSayWhatThereIs) {
  WriteTinyArtifact(base_);
  WriteTinyArtifact(base_, {.name = "valve"});
  ASSERT_TRUE(registry_.Poll().ok());
  const auto message = [&](const v1::ModelRef& ref, absl::StatusCode code = absl::StatusCode::kNotFound) {
    const absl::Status status = registry_.Find(ref).status();
    EXPECT_EQ(status.code(), code);
    return std::string(status.message());
  };
  EXPECT_EQ(message(Ref("pmp")), "model 'pmp': not found; models served: pump, valve");
  EXPECT_EQ(message(Ref("../pump")), "model '../pump': not found; models served: pump, valve");
  EXPECT_EQ(message(Ref("pump", 7)), "model 'pump': version 7: not found; versions served: 1");
  EXPECT_EQ(message(LabelRef("pump", "stable")), "model 'pump': label 'stable': not found; labels: none");
  EXPECT_EQ(message(Ref(""), absl::StatusCode::kInvalidArgument),
            "model.name: expected a model's name, got ''; models served: pump, valve");
}

TEST_F(DetectorRegistryTest, AReloadThatFailsLeavesTheOldServing) {
  const auto path = WriteTinyArtifact(base_);
  ASSERT_TRUE(registry_.Poll().ok());
  const auto before = registry_.Find(Ref("pump"))->detector;
  Append(path / "weights.bin", "x");
  ASSERT_TRUE(registry_.Poll().ok());
  EXPECT_EQ(registry_.Find(Ref("pump"))->detector, before);
  const v1::VersionSummary version = registry_.List().models(0).versions(0);
  EXPECT_EQ(version.state(), v1::VersionSummary::SERVING);
  EXPECT_THAT(version.error(), HasSubstr("weights.bin"));
  EXPECT_THAT(metrics_.Serialize(), HasSubstr("astray_model_load_failures_total{model=\"pump\"} 1\n"));
  ASSERT_TRUE(registry_.Poll().ok());  // the same damage is not looked at again
  EXPECT_THAT(metrics_.Serialize(), HasSubstr("astray_model_load_failures_total{model=\"pump\"} 1\n"));
}

TEST_F(DetectorRegistryTest, AnArtifactReplacedUnderItsVersionIsReloaded) {
  const auto path = WriteTinyArtifact(base_);
  ASSERT_TRUE(registry_.Poll().ok());
  const std::string before = Sha();
  std::filesystem::remove_all(path);
  WriteTinyArtifact(base_, {.seed = 5}, 1);
  ASSERT_TRUE(registry_.Poll().ok());
  EXPECT_NE(Sha(), before);
}

TEST_F(DetectorRegistryTest, ABrokenVersionIsTriedAgainWhenItsFolderChanges) {
  const auto path = WriteTinyArtifact(base_);
  const auto good = std::filesystem::file_size(path / "weights.bin");
  Append(path / "weights.bin", "x");
  ASSERT_TRUE(registry_.Poll().ok());
  ASSERT_FALSE(registry_.Find(Ref("pump")).ok());
  std::filesystem::resize_file(path / "weights.bin", good);
  ASSERT_TRUE(registry_.Poll().ok());
  EXPECT_TRUE(registry_.Find(Ref("pump")).ok());
}

TEST_F(DetectorRegistryTest, DeletedFoldersStopServingButALostBaseFolderDoesNot) {
  WriteTinyArtifact(base_);
  WriteTinyArtifact(base_, {.seed = 2});
  ASSERT_TRUE(registry_.Poll().ok());
  std::filesystem::remove_all(base_ / "pump/2");
  ASSERT_TRUE(registry_.Poll().ok());
  EXPECT_EQ(Latest(), 1);
  std::filesystem::rename(base_, base_.string() + "-away");
  EXPECT_FALSE(registry_.Poll().ok());
  EXPECT_EQ(Latest(), 1);
  std::filesystem::rename(base_.string() + "-away", base_);
  std::filesystem::remove_all(base_ / "pump");
  ASSERT_TRUE(registry_.Poll().ok());
  EXPECT_EQ(registry_.List().models_size(), 0);
  EXPECT_THAT(metrics_.Serialize(), testing::Not(HasSubstr("model=\"pump\"")));
}

TEST_F(DetectorRegistryTest, UnloadedStaysSoUntilLoad) {
  WriteTinyArtifact(base_);
  WriteTinyArtifact(base_, {.seed = 2});
  ASSERT_TRUE(registry_.Poll().ok());
  ASSERT_TRUE(registry_.Unload("pump", 2).ok());
  ASSERT_TRUE(registry_.Poll().ok());
  EXPECT_EQ(Latest(), 1);
  EXPECT_THAT(std::string(registry_.Find(Ref("pump", 2)).status().message()), HasSubstr("version 2: unloaded"));
  ASSERT_TRUE(registry_.Unload("pump", 0).ok());
  WriteTinyArtifact(base_, {.seed = 3});
  ASSERT_TRUE(registry_.Poll().ok());
  EXPECT_FALSE(registry_.Find(Ref("pump")).ok());
  EXPECT_THAT(metrics_.Serialize(), testing::Not(HasSubstr("astray_threshold{model=\"pump\"")));
  const auto loaded = registry_.Load("pump");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(Latest(), 3);
  EXPECT_EQ(loaded->versions_size(), 3);
}

TEST_F(DetectorRegistryTest, LoadSaysWhyNothingServes) {
  EXPECT_EQ(registry_.Load("../x").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(registry_.Load("pump").status().code(), absl::StatusCode::kNotFound);
  std::filesystem::create_directory(base_ / "pump");
  EXPECT_EQ(registry_.Load("pump").status().code(), absl::StatusCode::kNotFound);
  std::filesystem::create_directory(base_ / "pump/1");
  const absl::Status status = registry_.Load("pump").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("manifest.textproto"));
}

TEST_F(DetectorRegistryTest, LabelsPointAtLoadedVersionsAndSurviveARestart) {
  WriteTinyArtifact(base_);
  WriteTinyArtifact(base_, {.seed = 2});
  ASSERT_TRUE(registry_.Poll().ok());
  ASSERT_TRUE(registry_.SetLabel("pump", "stable", 1).ok());
  EXPECT_EQ(registry_.Find(LabelRef("pump", "stable"))->detector->model().version, 1);
  EXPECT_EQ(registry_.SetLabel("pump", "stable", 9).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(registry_.SetLabel("pump", "No Label", 1).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(registry_.SetLabel("pump", "12", 1).status().code(), absl::StatusCode::kInvalidArgument);
  DetectorRegistry again(base_, &metrics_);
  ASSERT_TRUE(again.Poll().ok());
  EXPECT_EQ(again.Find(LabelRef("pump", "stable"))->detector->model().version, 1);
  ASSERT_TRUE(registry_.SetLabel("pump", "stable", 0).ok());
  EXPECT_FALSE(registry_.Find(LabelRef("pump", "stable")).ok());
  ASSERT_TRUE(again.Poll().ok());  // another server's decision is followed
  EXPECT_FALSE(again.Find(LabelRef("pump", "stable")).ok());
}

TEST_F(DetectorRegistryTest, PromoteAndRollbackSurviveARestart) {
  WriteTinyArtifact(base_);
  ASSERT_TRUE(registry_.Poll().ok());
  EXPECT_EQ(Add(50, false)->epoch(), 2u);
  EXPECT_EQ(LiveEpoch(registry_), 1u);
  EXPECT_EQ(Add(60, true)->epoch(), 3u);
  EXPECT_EQ(LiveEpoch(registry_), 3u);
  const auto change = registry_.Promote(Ref("pump"), 2, nullptr);
  ASSERT_TRUE(change.ok()) << change.status();
  EXPECT_EQ(change->previous().epoch(), 3u);
  EXPECT_EQ(change->live().epoch(), 2u);
  EXPECT_TRUE(registry_.Promote(Ref("pump"), 2, nullptr).ok());  // nothing to change, nothing to undo twice
  DetectorRegistry again(base_, &metrics_);
  ASSERT_TRUE(again.Poll().ok());
  EXPECT_EQ(LiveEpoch(again), 2u);
  EXPECT_EQ(again.Find(Ref("pump"))->detector->calibration().threshold(),
            registry_.Find(Ref("pump"))->detector->calibration().threshold());
  EXPECT_EQ(registry_.Rollback(Ref("pump"))->live().epoch(), 3u);
  EXPECT_EQ(registry_.Rollback(Ref("pump"))->live().epoch(), 1u);
  EXPECT_EQ(registry_.Rollback(Ref("pump")).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Add(50, false)->epoch(), 4u);  // never an epoch twice
}

TEST_F(DetectorRegistryTest, PromotingWhatIsNotThereSaysWhatIs) {
  WriteTinyArtifact(base_);
  ASSERT_TRUE(registry_.Poll().ok());
  Add(50, false);
  const absl::Status status = registry_.Promote(Ref("pump"), 9, nullptr).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("epoch 9: not found; the newest are: 1, 2"));
}

TEST_F(DetectorRegistryTest, TooFewErrorsKeepNothing) {
  WriteTinyArtifact(base_);
  ASSERT_TRUE(registry_.Poll().ok());
  const auto added = registry_.AddCalibration(*registry_.Find(Ref("pump"))->detector, Errors(8), 0.1, true);
  EXPECT_EQ(added.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(added.status().message()), HasSubstr("takes at least 9 calibration vectors, got 8"));
  EXPECT_FALSE(std::filesystem::exists(base_ / "pump/calibrations"));
}

TEST_F(DetectorRegistryTest, ACalibrationOfAnotherArtifactIsIgnored) {
  const auto path = WriteTinyArtifact(base_);
  ASSERT_TRUE(registry_.Poll().ok());
  Add(50, true);
  const auto old = registry_.Find(Ref("pump"))->detector;
  std::filesystem::remove_all(path);
  WriteTinyArtifact(base_, {.seed = 5}, 1);
  ASSERT_TRUE(registry_.Poll().ok());
  EXPECT_EQ(LiveEpoch(registry_), 1u);
  EXPECT_EQ(registry_.Promote(Ref("pump"), 2, nullptr).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(registry_.AddCalibration(*old, Errors(50), 0.1, true).status().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Add(50, true)->epoch(), 3u);
}

TEST_F(DetectorRegistryTest, CorruptFilesAreCountedAndLeftAsTheyAre) {
  WriteTinyArtifact(base_);
  ASSERT_TRUE(registry_.Poll().ok());
  Add(50, true);
  Append(base_ / "pump/calibrations/1-2.pb", "x");
  Metrics metrics;
  DetectorRegistry again(base_, &metrics);
  ASSERT_TRUE(again.Poll().ok());
  EXPECT_EQ(LiveEpoch(again), 1u);
  EXPECT_THAT(metrics.Serialize(), HasSubstr("astray_model_load_failures_total{model=\"pump\"} 1\n"));

  Append(base_ / "pump/serving.textproto", "garbage");
  Metrics more_metrics;
  DetectorRegistry third(base_, &more_metrics);
  ASSERT_TRUE(third.Poll().ok());
  EXPECT_EQ(LiveEpoch(third), 1u);
  EXPECT_THAT(more_metrics.Serialize(), HasSubstr("astray_model_load_failures_total{model=\"pump\"} 1\n"));
  const absl::Status status = third.Promote(Ref("pump"), 1, nullptr).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("serving.textproto"));
  std::ifstream file(base_ / "pump/serving.textproto");
  EXPECT_THAT(std::string(std::istreambuf_iterator<char>(file), {}), HasSubstr("garbage"));
  EXPECT_EQ(LiveEpoch(registry_), 2u);
  ASSERT_TRUE(registry_.Poll().ok());
  EXPECT_EQ(LiveEpoch(registry_), 1u);  // 1-2.pb is corrupt; the state before the garbage is kept
}

TEST_F(DetectorRegistryTest, DescribeTellsFeaturesAndCalibrations) {
  WriteTinyArtifact(base_, {.window = 4});
  ASSERT_TRUE(registry_.Poll().ok());
  Add(50, true);
  ASSERT_TRUE(registry_.SetLabel("pump", "stable", 1).ok());
  const auto description = registry_.Describe(Ref("pump"));
  ASSERT_TRUE(description.ok()) << description.status();
  EXPECT_THAT(description->features(), ElementsAre("flow", "pressure", "temperature"));
  EXPECT_EQ(description->profiles_size(), 3);
  EXPECT_EQ(description->window(), 4u);
  EXPECT_EQ(description->parameters(), 12u * 8 + 8 + 8 * 4 + 4 + 4 * 8 + 8 + 8 * 12 + 12);
  ASSERT_EQ(description->calibrations_size(), 2);
  EXPECT_FALSE(description->calibrations(0).live());
  EXPECT_TRUE(description->calibrations(1).live());
  EXPECT_EQ(description->calibrations(1).samples(), 50u);
  EXPECT_THAT(description->labels(), ElementsAre("stable"));
}

}  // namespace
}  // namespace astray
