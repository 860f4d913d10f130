#include "tests/proofs/proof_training.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "engine/base/random.h"
#include "engine/nn/executor.h"
#include "engine/train/network_recipe.h"
#include "engine/train/recipe.h"
#include "engine/train/trainer.h"

namespace astray {

v1::Recipe MakeRecipe(const std::string& text, size_t features, uint64_t seed) {
  Dataset shape;
  for (size_t j = 0; j < features; ++j) shape.feature_names.push_back("x" + std::to_string(j));
  shape.values.resize(1000 * features);
  const auto parsed = ParseRecipe("name: 'proof' " + text, "recipe");
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  v1::Recipe recipe = *parsed;
  recipe.set_seed(seed);
  const auto complete = CompleteRecipe(recipe, shape);
  EXPECT_TRUE(complete.ok()) << complete.status();
  return *complete;
}

Network TrainOn(const std::vector<float>& rows, size_t features, const std::string& recipe_text, uint64_t seed) {
  const v1::Recipe recipe = MakeRecipe(recipe_text, features, seed);
  auto network = Network::Create(BuildNetworkSpec(recipe, features));
  EXPECT_TRUE(network.ok()) << network.status();
  Random random(seed, 1);
  network->Initialise(random);
  const std::vector<float> observed(rows.size(), 1.0f);
  const size_t count = rows.size() / features, held_out = count / 10;
  const VectorSet training(rows, observed, features, 1, {{0, count - held_out}});
  const VectorSet validation(rows, observed, features, 1, {{count - held_out, held_out}});
  const auto result = TrainNetwork(recipe, training, validation, &*network, {});
  EXPECT_TRUE(result.ok()) << result.status();
  return *std::move(network);
}

std::vector<float> Reconstruct(const Network& network, const std::vector<float>& rows) {
  std::vector<float> output(rows.size());
  const auto executor = Executor::Create(network);
  EXPECT_TRUE((*executor)->Reconstruct(rows.size() / network.input_size(), rows, output).ok());
  return output;
}

std::filesystem::path DataPath(const std::string& file) {
  const char* base = std::getenv("ASTRAY_DATA_DIR");
  return std::filesystem::path(base == nullptr ? "../shared/data" : base) / file;
}

Dataset Rows(const Dataset& data, size_t begin, size_t end) {
  Dataset rows = {.feature_names = data.feature_names};
  rows.values.assign(data.values.begin() + static_cast<std::ptrdiff_t>(begin * data.features()),
                     data.values.begin() + static_cast<std::ptrdiff_t>(end * data.features()));
  return rows;
}

}  // namespace astray
