#include "engine/train/pretraining.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/nn/executor.h"
#include "engine/train/network_recipe.h"
#include "engine/train/recipe.h"

namespace astray {
namespace {

constexpr size_t kFeatures = 8;

struct Rows {
  explicit Rows(size_t rows) : observed(rows * kFeatures, 1.0f) {
    Random random(1);
    for (size_t i = 0; i < rows; ++i) {
      const double t = 6 * random.Uniform(), u = 6 * random.Uniform();
      for (size_t j = 0; j < kFeatures; ++j) {
        scaled.push_back(
            static_cast<float>(std::sin(t + static_cast<double>(j)) + std::cos(u * static_cast<double>(j))));
      }
    }
  }
  VectorSet Part(size_t begin, size_t rows) const { return VectorSet(scaled, observed, kFeatures, 1, {{begin, rows}}); }
  std::vector<float> scaled, observed;
};

v1::Recipe MakeRecipe(const std::string& network) {
  Dataset shape;
  for (size_t j = 0; j < kFeatures; ++j) shape.feature_names.push_back(std::string(1, static_cast<char>('a' + j)));
  shape.values.resize(1000 * kFeatures);
  const auto recipe = CompleteRecipe(
      *ParseRecipe(
          "name: 'm' features { window: 1 } corruption { gaussian { max_sigma: 1 } } training { pretraining { steps: "
          "300 } } network { " +
              network + " }",
          "r"),
      shape);
  EXPECT_TRUE(recipe.ok()) << recipe.status();
  return *recipe;
}

Network Untrained(const v1::Recipe& recipe) {
  Network network = *Network::Create(BuildNetworkSpec(recipe, kFeatures));
  Random random(1);
  network.Initialise(random);
  return network;
}

double ReconstructionError(const Network& network, const Rows& rows) {
  std::vector<float> output(rows.scaled.size());
  EXPECT_TRUE((*Executor::Create(network))->Forward(output.size() / kFeatures, rows.scaled, output).ok());
  double sum = 0;
  for (size_t i = 0; i < output.size(); ++i) sum += (output[i] - rows.scaled[i]) * (output[i] - rows.scaled[i]);
  return sum / static_cast<double>(output.size());
}

TEST(Pretraining, TheStackRebuildsBeforeAllLayersAreTrainedTogether) {
  const Rows rows(1000);
  for (const std::string network_text :
       {"encoder: [ 32, 16, 12 ] activation: TANH", "encoder: [ 32, 16, 12 ] activation: TANH tied: true",
        "encoder: [ 32, 16, 12 ] activation: TANH dropout: 0.1"}) {
    const v1::Recipe recipe = MakeRecipe(network_text);
    Network network = Untrained(recipe);
    const double before = ReconstructionError(network, rows);
    const auto losses = Pretrain(recipe, rows.Part(0, 800), rows.Part(800, 200), &network, {});
    ASSERT_TRUE(losses.ok()) << losses.status();
    EXPECT_EQ(losses->size(), 3u);
    EXPECT_LT(ReconstructionError(network, rows), 0.4 * before) << network_text;
  }
}

TEST(Pretraining, TheSameSeedGivesTheSameParameters) {
  const v1::Recipe recipe = MakeRecipe("encoder: [ 16, 8 ]");
  const Rows rows(400);
  Network first = Untrained(recipe), second = Untrained(recipe);
  ASSERT_TRUE(Pretrain(recipe, rows.Part(0, 300), rows.Part(300, 100), &first, {}).ok());
  ASSERT_TRUE(Pretrain(recipe, rows.Part(0, 300), rows.Part(300, 100), &second, {}).ok());
  EXPECT_TRUE(std::ranges::equal(first.parameters(), second.parameters()));
}

TEST(Pretraining, NeedsLayersThatMirrorEachOther) {
  Dataset data{.feature_names = {"a", "b"}, .values = std::vector<float>(800)};
  const auto refused = CompleteRecipe(
      *ParseRecipe("name: 'm' features { window: 1 } network { layers { dense { outputs: 4 } } layers { dense {} } } "
                   "training { pretraining { steps: 5 } }",
                   "r"),
      data);
  EXPECT_EQ(refused.status().message(),
            "training.pretraining: needs layers that mirror each other: network.encoder, not network.layers");
}

}  // namespace
}  // namespace astray
