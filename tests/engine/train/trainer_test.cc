#include "engine/train/trainer.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/base/random.h"
#include "engine/train/recipe.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

constexpr size_t kFeatures = 6;

// Rows on a curve in six dimensions, and two parts of them.
struct Rows {
  explicit Rows(size_t rows, uint64_t seed = 1) : observed(rows * kFeatures, 1.0f) {
    Random random(seed);
    for (size_t i = 0; i < rows; ++i) {
      const double t = 6 * random.Uniform() - 3;
      for (size_t j = 0; j < kFeatures; ++j) {
        scaled.push_back(static_cast<float>(std::sin(t + static_cast<double>(j)) + 0.02 * random.Normal()));
      }
    }
  }
  VectorSet Part(size_t begin, size_t rows) const { return VectorSet(scaled, observed, kFeatures, 1, {{begin, rows}}); }
  std::vector<float> scaled, observed;
};

v1::Recipe MakeRecipe(const std::string& text) {
  const Dataset shape{.feature_names = {"a", "b", "c", "d", "e", "f"}, .values = std::vector<float>(1000 * kFeatures)};
  const auto recipe = CompleteRecipe(*ParseRecipe("name: 'm' " + text, "r"), shape);
  EXPECT_TRUE(recipe.ok()) << recipe.status();
  return *recipe;
}

Network MakeNetwork(const v1::Recipe& recipe) {
  auto network = Network::Create(BuildNetworkSpec(recipe, kFeatures));
  EXPECT_TRUE(network.ok()) << network.status();
  Random random(recipe.seed());
  network->Initialise(random);
  return *std::move(network);
}

std::vector<float> Parameters(const Network& network) {
  return {network.parameters().begin(), network.parameters().end()};
}

constexpr char kQuick[] = "network { encoder: 32 encoder: 8 } training { max_steps: 400 steps_per_validation: 20 } ";

TEST(TrainNetwork, LearnsAndTellsItsProgress) {
  const v1::Recipe recipe = MakeRecipe(kQuick);
  const Rows rows(1000);
  Network network = MakeNetwork(recipe);
  std::vector<TrainProgress> progress;
  const auto result = TrainNetwork(recipe, rows.Part(0, 800), rows.Part(800, 200), &network,
                                   [&](const TrainProgress& p) { progress.push_back(p); });
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(progress.size(), result->losses.size());
  EXPECT_EQ(progress.front().step, 20u);
  EXPECT_EQ(progress.back().step, result->steps);
  EXPECT_EQ(progress.back().max_steps, 400u);
  EXPECT_LT(progress.back().best_validation_loss, 0.5 * progress.front().validation_loss);
  EXPECT_LT(result->losses.back().training(), 0.6 * result->losses.front().training());
}

TEST(TrainNetwork, KeepsTheBestParametersNotTheLast) {
  // A step so large that the loss jumps about.
  const v1::Recipe recipe = MakeRecipe(
      "network { encoder: 16 encoder: 8 } training { max_steps: 60 steps_per_validation: 1 patience: 60 "
      "adam { learning_rate: 0.3 } }");
  const Rows rows(1000);
  Network network = MakeNetwork(recipe);
  const auto result = TrainNetwork(recipe, rows.Part(0, 800), rows.Part(800, 200), &network, {});
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_LT(result->best_step, result->steps) << "the case does not show what it is for";
  const auto best = std::min_element(result->losses.begin(), result->losses.end(),
                                     [](const auto& a, const auto& b) { return a.validation() < b.validation(); });
  EXPECT_EQ(result->best_step, best->step());

  // Training that ends at the best step ends with the same parameters.
  v1::Recipe shorter = recipe;
  shorter.mutable_training()->set_max_steps(static_cast<uint32_t>(result->best_step));
  Network again = MakeNetwork(shorter);
  ASSERT_TRUE(TrainNetwork(shorter, rows.Part(0, 800), rows.Part(800, 200), &again, {}).ok());
  EXPECT_EQ(Parameters(network), Parameters(again));
}

TEST(TrainNetwork, StopsWhenHeldOutVectorsGetNoBetter) {
  const v1::Recipe recipe =
      MakeRecipe("network { encoder: 64 } training { max_steps: 5000 steps_per_validation: 5 patience: 3 }");
  const Rows rows(40);
  Network network = MakeNetwork(recipe);
  const auto result = TrainNetwork(recipe, rows.Part(0, 20), rows.Part(20, 20), &network, {});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->stopped_early);
  EXPECT_LT(result->steps, 5000u);
  EXPECT_EQ(result->steps, result->best_step + 3 * 5);
}

TEST(TrainNetwork, TheSameSeedGivesTheSameParameters) {
  const Rows rows(500);
  const auto train = [&](const std::string& seed) {
    const v1::Recipe recipe = MakeRecipe("network { encoder: 8 } training { max_steps: 30 } seed: " + seed);
    Network network = MakeNetwork(recipe);
    EXPECT_TRUE(TrainNetwork(recipe, rows.Part(0, 400), rows.Part(400, 100), &network, {}).ok());
    return Parameters(network);
  };
  EXPECT_EQ(train("3"), train("3"));
  EXPECT_NE(train("3"), train("4"));
}

TEST(TrainNetwork, LossIsAgainstTheCleanInput) {
  // Everything is masked: only a constant can be learned, and its error is the variance of the clean values. Against
  // the masked input the loss would fall to 0.
  const v1::Recipe recipe = MakeRecipe(
      "network { encoder: 8 } corruption { masking { keep_probability: 1e-9 } } training { max_steps: 300 }");
  const Rows rows(1000);
  Network network = MakeNetwork(recipe);
  const auto result = TrainNetwork(recipe, rows.Part(0, 800), rows.Part(800, 200), &network, {});
  ASSERT_TRUE(result.ok()) << result.status();
  double sum = 0, squares = 0;
  for (const float value : rows.scaled) {
    sum += value;
    squares += value * value;
  }
  const double count = static_cast<double>(rows.scaled.size()),
               variance = squares / count - (sum / count) * (sum / count);
  EXPECT_GT(result->losses.back().validation(), 0.8 * variance);
}

TEST(TrainNetwork, ALossThatIsNotFiniteStopsWithAdviceAndLeavesFiniteParameters) {
  const v1::Recipe recipe =
      MakeRecipe("network { encoder: 8 } training { sgd { learning_rate: 1e30 } max_steps: 100 }");
  const Rows rows(200);
  Network network = MakeNetwork(recipe);
  const auto result = TrainNetwork(recipe, rows.Part(0, 150), rows.Part(150, 50), &network, {});
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(result.status().message()),
              testing::AllOf(HasSubstr("at step "), HasSubstr("lower the optimizer's learning_rate")));
  for (const float parameter : network.parameters()) ASSERT_TRUE(std::isfinite(parameter));
}

}  // namespace
}  // namespace astray
