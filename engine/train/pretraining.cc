#include "engine/train/pretraining.h"

#include <algorithm>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/nn/executor.h"

namespace astray {
namespace {

// Of the network's dense layers, lowest first: encoders, the code, decoders, output.
std::vector<size_t> DenseLayers(const Network& network) {
  std::vector<size_t> dense;
  for (size_t i = 0; i < network.layers(); ++i) {
    if (network.spec().layers(static_cast<int>(i)).has_dense()) dense.push_back(i);
  }
  return dense;
}

// An encoder layer and its mirror, with the parameters they have in the whole network.
absl::StatusOr<Network> Shallow(const Network& network, size_t encoder, size_t decoder) {
  v1::NetworkSpec spec;
  *spec.add_layers() = network.spec().layers(static_cast<int>(encoder));
  *spec.add_layers() = network.spec().layers(static_cast<int>(decoder));
  return Network::Create(std::move(spec));
}

// Between layer `from_index` of one network and layer `to_index` of another, of the same shape.
void CopyLayer(const Network& from, size_t from_index, Network* to, size_t to_index) {
  const LayerShape& shape = from.shape(from_index);
  const Network::Offsets &source = from.offsets(from_index), &target = to->offsets(to_index);
  std::ranges::copy(from.parameters().subspan(source.weights, shape.weights),
                    to->parameters().subspan(target.weights, shape.weights).begin());
  std::ranges::copy(from.parameters().subspan(source.bias, shape.biases),
                    to->parameters().subspan(target.bias, shape.biases).begin());
}

// Vectors that are values of their own: a level's input.
struct Level {
  std::vector<float> values, observed;
  size_t width = 0;
  VectorSet vectors() const { return VectorSet(values, observed, width, 1, {{0, values.size() / width}}); }
};

// What `network`, a shallow one, makes of vectors: its code, all of it observed.
absl::StatusOr<Level> Encode(const Network& network, const std::vector<float>& values) {
  ASSIGN_OR_RETURN(const auto executor, Executor::Create(network));
  const size_t count = values.size() / network.input_size();
  Level level;
  level.width = network.code_size();
  level.values.resize(count * level.width);
  level.observed.assign(level.values.size(), 1.0f);
  std::vector<float> output(count * network.output_size());
  RETURN_IF_ERROR(executor->Forward(count, values, output, level.values));
  return level;
}

// The recipe by which level `index` (0 is the lowest) is trained alone.
v1::Recipe LevelRecipe(const v1::Recipe& recipe, size_t index) {
  v1::Recipe level = recipe;
  v1::TrainingRecipe* training = level.mutable_training();
  training->set_max_steps(recipe.training().pretraining().steps());
  training->clear_pretraining();
  training->set_schedule(v1::CONSTANT);
  level.clear_regularizer();
  level.set_seed(recipe.seed() ^ ((index + 1) * 0x9e3779b97f4a7c15));  // other draws than the whole network's
  if (index == 0) return level;
  level.mutable_features()->set_window(1);
  level.mutable_features()->clear_shape();
  level.set_loss(v1::MEAN_SQUARED_ERROR);
  level.clear_corruption();
  level.add_corruption()->mutable_masking()->set_keep_probability(recipe.training().pretraining().keep_probability());
  return level;
}

}  // namespace

absl::StatusOr<std::vector<double>> Pretrain(const v1::Recipe& recipe, const VectorSet& training,
                                             const VectorSet& validation, Network* network,
                                             const ProgressCallback& progress, size_t threads) {
  const std::vector<size_t> dense = DenseLayers(*network);
  const size_t depth = dense.size() / 2;
  std::vector<double> losses;
  // What goes into the level: of the lowest only for the next one, which sees its code.
  Level below = {.values = training.Spread(kMaxPretrainingVectors).GatherValues()},
        held_out = {.values = validation.GatherValues()};
  for (size_t level = 0; level < depth; ++level) {
    const size_t encoder = dense[level], decoder = dense[dense.size() - 1 - level];
    ASSIGN_OR_RETURN(Network shallow, Shallow(*network, encoder, decoder));
    CopyLayer(*network, encoder, &shallow, 0);
    CopyLayer(*network, decoder, &shallow, 1);
    const v1::Recipe level_recipe = LevelRecipe(recipe, level);
    const VectorSet own = level == 0 ? training : below.vectors();
    const VectorSet own_held_out = level == 0 ? validation : held_out.vectors();
    ASSIGN_OR_RETURN(const TrainingResult result,
                     TrainNetwork(level_recipe, own, own_held_out, &shallow, progress, {}, threads));
    losses.push_back(result.best_validation_loss);
    CopyLayer(shallow, 0, network, encoder);
    CopyLayer(shallow, 1, network, decoder);
    if (level + 1 == depth) break;
    ASSIGN_OR_RETURN(below, Encode(shallow, below.values));
    ASSIGN_OR_RETURN(held_out, Encode(shallow, held_out.values));
  }
  return losses;
}

}  // namespace astray
