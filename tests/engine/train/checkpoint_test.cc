#include "engine/train/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "engine/base/file.h"
#include "engine/detect/detector.h"
#include "engine/train/recipe.h"
#include "engine/train/train_job.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

Dataset MakeData(size_t rows, uint64_t seed = 1) {
  Dataset data{.feature_names = {"a", "b", "c", "d"}};
  Random random(seed);
  for (size_t i = 0; i < rows; ++i) {
    const double t = 6 * random.Uniform();
    for (int j = 0; j < 4; ++j) data.values.push_back(static_cast<float>(std::sin(t + j) + 0.05 * random.Normal()));
  }
  return data;
}

// Everything that has a state: Adam's moments, a schedule, corruption, dropout, pre-training.
v1::Recipe MakeRecipe(const std::string& more = "") {
  const auto recipe = ParseRecipe(
      "name: 'm' features { window: 1 } network { encoder: [ 16, 8 ] dropout: 0.2 } training { max_steps: 300 "
      "steps_per_validation: 10 patience: 100 schedule: COSINE warmup_steps: 20 pretraining { steps: 20 } } " +
          more,
      "r");
  EXPECT_TRUE(recipe.ok()) << recipe.status();
  return *recipe;
}

class CheckpointTest : public ::testing::Test {
 protected:
  std::string path() const { return (folder_.path() / "training").string(); }

  // What a training comes to: weights, losses, threshold.
  struct End {
    std::vector<float> parameters;
    std::string report;
  };
  End TrainToTheEnd(const std::string& checkpoint, const v1::Recipe& recipe = MakeRecipe()) {
    const auto trained = Train(recipe, MakeData(600), {}, checkpoint);
    EXPECT_TRUE(trained.ok()) << trained.status();
    const auto parameters = trained->detector->model().executors.network().parameters();
    return {{parameters.begin(), parameters.end()}, trained->report.SerializeAsString()};
  }

  // Runs a training in another process and kills it after `validations` of them and a little.
  void TrainAndKill(int validations, int spin) {
    int pipe_ends[2];
    ASSERT_EQ(pipe(pipe_ends), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      close(pipe_ends[0]);
      const auto tell = [&](const TrainProgress&) {
        if (write(pipe_ends[1], "v", 1) < 0) _exit(2);
      };
      _exit(Train(MakeRecipe(), MakeData(600), tell, path()).ok() ? 0 : 1);
    }
    close(pipe_ends[1]);
    char byte = 0;
    while (validations-- > 0 && read(pipe_ends[0], &byte, 1) == 1) {
    }
    for (volatile int i = 0; i < spin;) i = i + 1;
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    close(pipe_ends[0]);
    EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
  }

  const TemporaryFolder folder_;
};

TEST_F(CheckpointTest, AKilledTrainingComesToTheSameBytes) {
  const End whole = TrainToTheEnd("");
  // Four validations belong to the pre-training, which leaves nothing behind.
  for (const int first : {1, 4, 5, 9, 20}) {
    std::filesystem::remove(path());
    TrainAndKill(first, first * 20'000);
    TrainAndKill(6, first * 10'000);
    const End resumed = TrainToTheEnd(path());
    EXPECT_EQ(resumed.parameters, whole.parameters) << "killed after " << first << " validations";
    EXPECT_EQ(resumed.report, whole.report);
  }
}

TEST_F(CheckpointTest, AFinishedTrainingIsNotTrainedOn) {
  const End first = TrainToTheEnd(path());
  size_t validations = 0;
  const auto again = Train(
      MakeRecipe(), MakeData(600), [&](const TrainProgress&) { ++validations; }, path());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(validations, 0u);
  EXPECT_EQ(again->report.SerializeAsString(), first.report);
}

TEST_F(CheckpointTest, RefusesOtherDataAndOtherRecipes) {
  TrainToTheEnd(path());
  const auto other_data = Train(MakeRecipe(), MakeData(600, 2), {}, path());
  EXPECT_EQ(other_data.status(), absl::FailedPreconditionError("checkpoint '" + path() +
                                                               "': it was made on other data; delete it to start "
                                                               "afresh"));
  v1::Recipe other = MakeRecipe();
  other.mutable_network()->set_encoder(0, 12);
  const auto refused = Train(other, MakeData(600), {}, path());
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("modified: network.encoder[0]: 16 -> 12"));
}

TEST_F(CheckpointTest, HowTrainingGoesOnMayChange) {
  TrainToTheEnd(path());
  v1::Recipe longer = MakeRecipe();
  longer.mutable_training()->set_max_steps(320);
  longer.mutable_training()->mutable_adam()->set_learning_rate(1e-4f);
  const auto trained = Train(longer, MakeData(600), {}, path());
  ASSERT_TRUE(trained.ok()) << trained.status();
  EXPECT_EQ(trained->report.steps(), 320u);
}

TEST_F(CheckpointTest, DamageIsNamedAndNothingIsTrained) {
  TrainToTheEnd(path());
  const std::string content = *ReadFile(path(), 1 << 26);
  for (const std::string& damaged : {content.substr(0, content.size() / 2), content.substr(0, 10), std::string(),
                                     std::string(content).replace(50, 1, "?")}) {
    ASSERT_TRUE(WriteFileAtomically(path(), damaged).ok());
    const auto trained = Train(MakeRecipe(), MakeData(600), {}, path());
    EXPECT_EQ(trained.status().code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(trained.status().message()), HasSubstr("checkpoint '" + path() + "': it"));
  }
  // What checksums cannot tell: a state of another size.
  Checkpoint checkpoint = *OpenCheckpoint((folder_.path() / "other").string(), MakeRecipe(), "x");
  ASSERT_TRUE(WriteFileAtomically(path(), content).ok());
  ASSERT_TRUE(checkpoint.state.ParseFromString(content.substr(0, content.size() - 64)));
  checkpoint.path = path();
  checkpoint.state.mutable_best_parameters()->resize(8);
  ASSERT_TRUE(WriteCheckpoint(checkpoint).ok());
  EXPECT_THAT(std::string(Train(MakeRecipe(), MakeData(600), {}, path()).status().message()),
              HasSubstr("checkpoint: best_parameters: expected"));
}

// The parameters jump away at the first step behind the checkpoint, whose state stays as it was.
TEST_F(CheckpointTest, ALossThatIsNotFiniteLeavesTheLastGoodState) {
  TrainToTheEnd(path());
  const std::string good = *ReadFile(path(), 1 << 26);
  v1::Recipe wild = MakeRecipe();
  wild.mutable_training()->set_max_steps(400);
  wild.mutable_training()->set_schedule(v1::CONSTANT);
  wild.mutable_training()->mutable_adam()->set_learning_rate(1e30f);
  const auto diverged = Train(wild, MakeData(600), {}, path());
  EXPECT_EQ(diverged.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(diverged.status().message()),
              HasSubstr("lower the optimizer's learning_rate, or look for extreme values in the data; the last good "
                        "state is in '" +
                        path() + "', training goes on from there"));
  EXPECT_EQ(*ReadFile(path(), 1 << 26), good);
}

}  // namespace
}  // namespace astray
