// Stacks that are trained layer by layer first.
#include "engine/train/pretraining.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <limits>

#include "engine/base/random.h"
#include "engine/train/network_recipe.h"
#include "engine/train/trainer.h"
#include "tests/proofs/proof_training.h"

namespace astray {
namespace {

// Hinton & Salakhutdinov 2006, Vincent et al. 2010: from a random start a deep narrow network of sigmoid units hardly
// learns; from a stack of trained layers it does.
TEST(Proof, AStackTrainedLayerByLayerLearnsInFewerEpochs) {
  constexpr size_t kWidth = 16, kRows = 2000, kHeldOut = 200;
  for (const uint64_t seed : {1, 2, 3}) {
    Random random(seed, 5);
    std::vector<float> rows;
    for (size_t i = 0; i < kRows; ++i) {
      const double t = 2 * M_PI * random.Uniform(), u = 2 * M_PI * random.Uniform();
      for (size_t j = 0; j < kWidth; ++j) {
        const auto x = static_cast<double>(j);
        rows.push_back(static_cast<float>(std::sin(t + x) + std::sin(u + 0.7 * x) + 0.05 * random.Normal()));
      }
    }
    const std::vector<float> observed(rows.size(), 1.0f);
    const VectorSet training(rows, observed, kWidth, 1, {{0, kRows - kHeldOut}});
    const VectorSet validation(rows, observed, kWidth, 1, {{kRows - kHeldOut, kHeldOut}});
    const v1::Recipe recipe = MakeRecipe(
        "features { window: 1 } network { encoder: [ 32, 24, 16, 12, 8 ] activation: SIGMOID } corruption { "
        "gaussian { sigma: 0.1 } } training { max_steps: 3000 steps_per_validation: 14 patience: 1000 "
        "batch_size: 128 pretraining { steps: 600 keep_probability: 0.95 } }",
        kWidth, seed);
    // Epochs (14 steps of 128 rows of 1,800) to the first validation loss at or below `loss`.
    const auto epochs = [](const TrainingResult& result, double loss) {
      for (size_t i = 0; i < result.losses.size(); ++i) {
        if (result.losses[i].validation() <= loss) return static_cast<double>(i + 1);
      }
      return std::numeric_limits<double>::infinity();
    };
    const auto train = [&](bool pretrained) {
      auto network = Network::Create(BuildNetworkSpec(recipe, kWidth));
      Random initialise(seed, 1);
      network->Initialise(initialise);
      if (pretrained) {
        EXPECT_TRUE(Pretrain(recipe, training, validation, &*network, {}).ok());
      }
      const auto result = TrainNetwork(recipe, training, validation, &*network, {});
      EXPECT_TRUE(result.ok()) << result.status();
      return *result;
    };
    constexpr double kLoss = 0.5;  // half of the data's variance
    const TrainingResult stacked = train(true), random_start = train(false);
    const double with = epochs(stacked, kLoss), without = epochs(random_start, kLoss);
    std::printf("seed %d: loss %.2f after %.0f epochs stacked, %.0f from a random start; last %.3f and %.3f\n",
                static_cast<int>(seed), kLoss, with, without, stacked.losses.back().validation(),
                random_start.losses.back().validation());
    EXPECT_LT(with, 0.7 * without) << "seed " << seed;
  }
}

}  // namespace
}  // namespace astray
