#include "engine/train/trainer.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/base/random.h"
#include "engine/nn/executor.h"
#include "engine/train/network_recipe.h"
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

// Corruption, dropout, a regularizer, clipping and held-out vectors, in batches that threads share.
TEST(TrainNetwork, AnyNumberOfThreadsGivesTheSameParameters) {
  const Rows rows(4000);
  for (const std::string corruption : {"gaussian { sigma: 0.2 }", "gaussian { max_sigma: 0.5 }",
                                       "masking { keep_probability: 0.7 }", "feature_swap { probability: 0.2 }"}) {
    const v1::Recipe recipe = MakeRecipe("network { encoder: [ 256, 8 ] dropout: 0.1 } corruption { " + corruption +
                                         " } regularizer { l1_sparsity { weight: 0.001 } } training { max_steps: 6 "
                                         "steps_per_validation: 3 clip_norm: 1 batch_size: 5600 }");
    const auto train = [&](size_t threads) {
      Network network = MakeNetwork(recipe);
      const auto result = TrainNetwork(recipe, rows.Part(0, 3000), rows.Part(3000, 1000), &network, {}, {}, threads);
      EXPECT_TRUE(result.ok()) << result.status();
      std::vector<float> all = Parameters(network);
      for (const v1::LossPoint& point : result->losses) {
        all.push_back(static_cast<float>(point.training()));
        all.push_back(static_cast<float>(point.validation()));
      }
      return all;
    };
    const std::vector<float> alone = train(1);
    for (const size_t threads : {2, 3, 5}) EXPECT_EQ(train(threads), alone) << corruption << threads;
  }
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

// Steps too small to change a parameter: every loss is that of the network given.
constexpr char kStill[] = "network { encoder: 8 activation: LINEAR } training { sgd { learning_rate: 1e-30 } ";

TEST(TrainNetwork, ValidationLossIsTheMeanOverObservedHeldOutValues) {
  // Of zero parameters: every output is 0, and the loss the mean square. One batch and a part of one, the first with
  // many missing values, which hold what would show.
  const v1::Recipe recipe = MakeRecipe(std::string(kStill) + "max_steps: 3 steps_per_validation: 50 batch_size: 128 }");
  Rows rows(400);
  double sum = 0, count = 0;
  for (size_t i = 200 * kFeatures; i < rows.scaled.size(); ++i) {
    if (i < 300 * kFeatures && i % 2 == 0) {
      rows.scaled[i] = 9;
      rows.observed[i] = 0;
      continue;
    }
    if (i >= 328 * kFeatures) rows.scaled[i] += 2;
    sum += double{rows.scaled[i]} * rows.scaled[i];
    ++count;
  }
  auto network = Network::Create(BuildNetworkSpec(recipe, kFeatures));
  ASSERT_TRUE(network.ok()) << network.status();
  const auto result = TrainNetwork(recipe, rows.Part(0, 200), rows.Part(200, 200), &*network, {});
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->losses.size(), 1u) << "the last step is always validated";
  EXPECT_EQ(result->losses[0].step(), 3u);
  EXPECT_NEAR(result->losses[0].validation(), sum / count, 1e-6);
}

TEST(TrainNetwork, HeldOutVectorsAreCorruptedOnceByTheSeed) {
  const Rows rows(300);
  const Network initial = MakeNetwork(MakeRecipe(kQuick));
  const auto losses = [&](const std::string& seed) {
    Network network = initial.Clone();
    const auto result =
        TrainNetwork(MakeRecipe("network { encoder: 32 encoder: 8 } training { sgd { learning_rate: 1e-30 } "
                                "max_steps: 2 steps_per_validation: 1 } seed: " +
                                seed),
                     rows.Part(0, 200), rows.Part(200, 100), &network, {});
    EXPECT_TRUE(result.ok()) << result.status();
    return std::pair(result->losses[0], result->losses[1]);
  };
  const auto [first, second] = losses("1");
  EXPECT_NEAR(first.validation(), second.validation(), 1e-9);
  EXPECT_GT(std::abs(first.training() - second.training()), 1e-6) << "training vectors are drawn afresh";
  EXPECT_GT(std::abs(first.validation() - losses("2").first.validation()), 1e-6);
}

TEST(TrainNetwork, ALossPointHoldsTheMeanTrainingLossSinceTheLast) {
  const Rows rows(500);
  const auto losses = [&](const std::string& steps) {
    const v1::Recipe recipe =
        MakeRecipe("network { encoder: 8 } training { max_steps: 10 steps_per_validation: " + steps + " }");
    Network network = MakeNetwork(recipe);
    const auto result = TrainNetwork(recipe, rows.Part(0, 400), rows.Part(400, 100), &network, {});
    EXPECT_TRUE(result.ok()) << result.status();
    return result->losses;
  };
  const auto each = losses("1"), fours = losses("4");
  ASSERT_EQ(each.size(), 10u);
  ASSERT_EQ(fours.size(), 3u) << "steps 4, 8 and the last";
  for (const auto& [point, begin, end] : {std::tuple<size_t, size_t, size_t>{0, 0, 4}, {1, 4, 8}, {2, 8, 10}}) {
    double sum = 0;
    for (size_t i = begin; i < end; ++i) sum += each[i].training();
    EXPECT_NEAR(fours[point].training(), sum / static_cast<double>(end - begin), 1e-9);
    EXPECT_EQ(fours[point].validation(), each[end - 1].validation());
  }
}

// How a training that takes far too large a step ends.
std::string Divergence(const std::string& training) {
  const v1::Recipe recipe =
      MakeRecipe("network { encoder: 8 } training { sgd { learning_rate: 1e30 } max_steps: 100 " + training + " }");
  const Rows rows(200);
  Network network = MakeNetwork(recipe);
  const std::vector<float> initial = Parameters(network);
  const auto result = TrainNetwork(recipe, rows.Part(0, 150), rows.Part(150, 50), &network, {});
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(Parameters(network), initial) << "the best so far";
  return std::string(result.status().message());
}

// Of the code's units, over the rows.
struct CodeUse {
  double on = 0;    // share of rows and units that are not 0
  double mean = 0;  // mean activation
  double validation = 0;
};

CodeUse TrainAndLook(const std::string& text) {
  const v1::Recipe recipe = MakeRecipe(text + " training { max_steps: 600 }");
  const Rows rows(1000);
  Network network = MakeNetwork(recipe);
  const auto result = TrainNetwork(recipe, rows.Part(0, 800), rows.Part(800, 200), &network, {});
  EXPECT_TRUE(result.ok()) << result.status();
  std::vector<float> output(rows.scaled.size()), code(1000 * network.code_size());
  const auto executor = Executor::Create(network);
  EXPECT_TRUE((*executor)->Forward(1000, rows.scaled, output, code).ok());
  CodeUse use;
  for (const float h : code) {
    use.on += std::abs(h) > 1e-3 ? 1 : 0;
    use.mean += h;
  }
  use.on /= static_cast<double>(code.size());
  use.mean /= static_cast<double>(code.size());
  use.validation = result->losses.back().validation();
  return use;
}

TEST(TrainNetwork, L1TurnsUnitsOff) {
  const CodeUse plain = TrainAndLook("network { encoder: 32 encoder: 16 }");
  const CodeUse sparse =
      TrainAndLook("network { encoder: 32 encoder: 16 } regularizer { l1_sparsity { weight: 0.01 } }");
  EXPECT_LT(sparse.on, 0.7 * plain.on);
  EXPECT_LT(sparse.mean, 0.5 * plain.mean);
  EXPECT_LT(sparse.validation, 3 * plain.validation) << "and still it rebuilds";
}

TEST(TrainNetwork, KlBringsUnitsToTheirShare) {
  const CodeUse plain = TrainAndLook("network { encoder: 32 encoder: 16 activation: SIGMOID }");
  const CodeUse sparse = TrainAndLook(
      "network { encoder: 32 encoder: 16 activation: SIGMOID } regularizer { kl_sparsity { weight: 1 target: 0.1 } }");
  EXPECT_GT(plain.mean, 0.3);
  EXPECT_NEAR(sparse.mean, 0.1, 0.03);
}

TEST(TrainNetwork, ALossThatIsNotFiniteStopsWithAdviceAndTheBestParameters) {
  EXPECT_EQ(Divergence(""),
            "training: the loss at step 2 is not a finite number; lower the optimizer's learning_rate, or look for "
            "extreme values in the data");
  EXPECT_THAT(Divergence("steps_per_validation: 1"), HasSubstr("the loss at step 1 is not")) << "seen on validation";
}

}  // namespace
}  // namespace astray
