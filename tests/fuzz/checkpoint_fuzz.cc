// The input as a checkpoint whose checksum, recipe and data are right: a training goes on from it, or says in one line
// what is wrong; the network's parameters are finite either way.
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "engine/train/checkpoint.h"
#include "engine/train/network_recipe.h"
#include "engine/train/recipe.h"
#include "engine/train/trainer.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

// Four steps on forty rows of two values.
struct Training {
  Training() {
    astray::Dataset data{.feature_names = {"a", "b"}};
    for (int i = 0; i < 80; ++i) values.push_back(static_cast<float>(i % 7) - 3);
    data.values = values;
    recipe = *astray::CompleteRecipe(
        *astray::ParseRecipe("name: 'f' features { window: 1 } network { encoder: 2 } training { max_steps: 4 "
                             "steps_per_validation: 2 batch_size: 4 }",
                             "f"),
        data);
  }
  astray::v1::Recipe recipe;
  std::vector<float> values, observed = std::vector<float>(80, 1.0f);
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto* training = new Training();
  astray::Checkpoint checkpoint;
  if (!checkpoint.state.ParseFromArray(data, static_cast<int>(size))) return 0;
  checkpoint.state.set_step(checkpoint.state.step() % 4);  // some of the training is left
  auto network = astray::Network::Create(astray::BuildNetworkSpec(training->recipe, 2));
  Require(network.ok());
  const astray::VectorSet teach(training->values, training->observed, 2, 1, {{0, 30}});
  const astray::VectorSet stop(training->values, training->observed, 2, 1, {{30, 10}});
  const auto result = astray::TrainNetwork(training->recipe, teach, stop, &*network, {}, checkpoint);
  if (!result.ok()) Require(result.status().message().size() < 300);
  for (const float parameter : network->parameters()) Require(std::isfinite(parameter));
  return 0;
}
