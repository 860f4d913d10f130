#include "engine/train/recipe.h"

#include <google/protobuf/text_format.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"
#include "engine/base/text_proto.h"
#include "engine/detect/artifact.h"
#include "engine/features/pipeline.h"
#include "engine/nn/gradient.h"
#include "engine/nn/network.h"
#include "engine/nn/optimizer.h"
#include "engine/train/corruption.h"
#include "engine/train/time_order.h"

namespace astray {
namespace {

// Below this many rows a window would leave too little to train, validate and calibrate on.
constexpr size_t kMinRowsForWindow = 200;
constexpr uint32_t kDefaultWindow = 20;
constexpr uint32_t kDefaultWidth = 256;

absl::Status Refuse(absl::string_view text) { return absl::InvalidArgumentError(text); }

absl::Status CheckCount(absl::string_view field, uint32_t value, uint32_t most) {
  if (value >= 1 && value <= most) return absl::OkStatus();
  return Refuse(absl::StrCat(field, ": expected 1 to ", most, ", got ", value));
}

absl::Status CheckFraction(absl::string_view field, double value) {
  if (value > 0 && value <= 0.5) return absl::OkStatus();
  return Refuse(absl::StrCat(field, ": expected a number in (0, 0.5], got ", value));
}

// Values that do not fit the enum's type come through proto3 as numbers.
absl::Status CheckEnums(const v1::Recipe& recipe) {
  if (!v1::Scaling_IsValid(recipe.features().scaling())) return Refuse("features.scaling: unknown value");
  if (!v1::Schedule_IsValid(recipe.training().schedule())) return Refuse("training.schedule: unknown value");
  if (!v1::Loss_IsValid(recipe.loss())) return Refuse("loss: unknown value");
  if (!v1::ScoreKind_IsValid(recipe.score().kind())) return Refuse("score.kind: unknown value");
  for (const auto& [field, activation] :
       {std::pair{"network.activation", recipe.network().activation()},
        std::pair{"network.output_activation", recipe.network().output_activation()}}) {
    if (!v1::Activation_IsValid(activation)) return Refuse(absl::StrCat(field, ": unknown value"));
  }
  return absl::OkStatus();
}

void FillFeatures(const Dataset& dataset, v1::FeaturesRecipe* features) {
  if (features->scaling() == v1::SCALING_UNSPECIFIED) features->set_scaling(v1::STANDARD);
  if (!features->has_window()) {
    const bool fits = dataset.rows() >= kMinRowsForWindow && dataset.features() * kDefaultWindow <= Pipeline::kMaxWidth;
    features->set_window(fits && IsTimeOrdered(dataset) ? kDefaultWindow : 1);
  }
}

void FillNetwork(size_t width, v1::Scaling scaling, v1::NetworkRecipe* network) {
  if (network->encoder().empty()) {
    // Wide, then a code that tapers to twice the inputs: what keeps it from copying is the corruption, not the
    // bottleneck (docs/decisions/0002-default-recipe.md).
    network->add_encoder(kDefaultWidth);
    network->add_encoder(static_cast<uint32_t>(std::min<size_t>(kDefaultWidth, 2 * width)));
  }
  if (network->activation() == v1::ACTIVATION_UNSPECIFIED) network->set_activation(v1::RELU);
  if (network->output_activation() == v1::ACTIVATION_UNSPECIFIED) {
    network->set_output_activation(scaling == v1::MIN_MAX ? v1::SIGMOID : v1::LINEAR);
  }
}

void FillTraining(size_t rows, v1::TrainingRecipe* training) {
  if (!training->has_batch_size())
    training->set_batch_size(static_cast<uint32_t>(std::clamp<size_t>(rows / 2, 1, 128)));
  if (!training->has_max_steps()) training->set_max_steps(2000);
  if (!training->has_patience()) training->set_patience(10);
  if (!training->has_steps_per_validation()) training->set_steps_per_validation(50);
  if (!training->has_validation_fraction()) training->set_validation_fraction(0.1f);
  if (!training->has_clip_norm()) training->set_clip_norm(0);
  if (!training->has_warmup_steps()) training->set_warmup_steps(0);
  if (training->schedule() == v1::SCHEDULE_UNSPECIFIED) training->set_schedule(v1::CONSTANT);
  if (training->has_sgd()) return;
  v1::AdamOptimizer* adam = training->mutable_adam();
  if (adam->learning_rate() == 0) adam->set_learning_rate(0.002f);
  if (!adam->has_beta1()) adam->set_beta1(0.9f);
  if (!adam->has_beta2()) adam->set_beta2(0.999f);
  if (!adam->has_epsilon()) adam->set_epsilon(1e-8f);
  if (!adam->has_weight_decay()) adam->set_weight_decay(0);
}

absl::Status CheckRanges(const v1::Recipe& recipe) {
  const v1::TrainingRecipe& training = recipe.training();
  RETURN_IF_ERROR(CheckCount("training.batch_size", training.batch_size(), 65536));
  RETURN_IF_ERROR(CheckCount("training.max_steps", training.max_steps(), 100'000'000));
  RETURN_IF_ERROR(CheckCount("training.patience", training.patience(), 1'000'000));
  RETURN_IF_ERROR(CheckCount("training.steps_per_validation", training.steps_per_validation(), 1'000'000));
  RETURN_IF_ERROR(CheckFraction("training.validation_fraction", training.validation_fraction()));
  RETURN_IF_ERROR(CheckFraction("calibration.holdout_fraction", recipe.calibration().holdout_fraction()));
  const double rate = recipe.calibration().false_positive_rate();
  if (recipe.calibration().has_false_positive_rate() && !(rate > 0 && rate < 1)) {
    return Refuse(absl::StrCat("calibration.false_positive_rate: expected a number in (0, 1), got ", rate));
  }
  return Optimizer::Create(training, 0).status();
}

// Fields that are fine alone but do not go together.
absl::Status CheckTogether(const v1::Recipe& recipe) {
  const bool unit_range = recipe.features().scaling() == v1::MIN_MAX;
  const v1::Activation output = recipe.network().output_activation();
  if (output == v1::SIGMOID && !unit_range) {
    return Refuse(absl::StrCat("network.output_activation: SIGMOID reaches only (0, 1), but features.scaling ",
                               v1::Scaling_Name(recipe.features().scaling()),
                               " makes targets outside it; use LINEAR, or MIN_MAX scaling"));
  }
  if (output == v1::TANH || output == v1::RELU) {
    return Refuse(absl::StrCat("network.output_activation: ", v1::Activation_Name(output),
                               " cannot reach every scaled value; use LINEAR, or SIGMOID with MIN_MAX scaling"));
  }
  if (recipe.loss() == v1::BINARY_CROSS_ENTROPY && (!unit_range || output != v1::SIGMOID)) {
    return Refuse(
        absl::StrCat("loss: BINARY_CROSS_ENTROPY needs targets and outputs in [0, 1], but features.scaling is ",
                     v1::Scaling_Name(recipe.features().scaling()), " and network.output_activation ",
                     v1::Activation_Name(output), "; use MIN_MAX and SIGMOID, or MEAN_SQUARED_ERROR"));
  }
  for (int i = 0; i < recipe.corruption_size(); ++i) {
    if (recipe.corruption(i).has_bit_flip() && !unit_range) {
      return Refuse(absl::StrCat("corruption[", i, "].bit_flip: turns 0 into 1 and 1 into 0, but features.scaling is ",
                                 v1::Scaling_Name(recipe.features().scaling()), "; use MIN_MAX"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::Recipe> ParseRecipe(absl::string_view text, const std::string& file_name) {
  v1::Recipe recipe;
  RETURN_IF_ERROR(ParseTextProto(std::string(text), file_name, &recipe));
  return recipe;
}

absl::StatusOr<v1::Recipe> ReadRecipe(const std::string& path) {
  constexpr uint64_t kMaxBytes = 1 << 20;
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxBytes));
  return ParseRecipe(text, path);
}

absl::StatusOr<v1::Recipe> CompleteRecipe(v1::Recipe recipe, const Dataset& dataset) {
  RETURN_IF_ERROR(CheckModelName(recipe.name()));
  RETURN_IF_ERROR(CheckEnums(recipe));
  if (!recipe.has_seed()) recipe.set_seed(1);
  FillFeatures(dataset, recipe.mutable_features());
  RETURN_IF_ERROR(CheckCount("features.window", recipe.features().window(), Pipeline::kMaxWindow));
  const size_t width = dataset.features() * recipe.features().window();
  if (width < 1 || width > Pipeline::kMaxWidth) {
    return Refuse(absl::StrCat("features.window: expected at most ", Pipeline::kMaxWidth, " values in a vector, got ",
                               dataset.features(), " features x ", recipe.features().window(), " rows"));
  }
  FillNetwork(width, recipe.features().scaling(), recipe.mutable_network());
  if (recipe.corruption().empty()) {
    // In units of a standard deviation; a [0, 1] range is about four of them wide.
    recipe.add_corruption()->mutable_gaussian()->set_max_sigma(recipe.features().scaling() == v1::MIN_MAX ? 0.25f
                                                                                                          : 1.0f);
  }
  if (recipe.loss() == v1::LOSS_UNSPECIFIED) recipe.set_loss(v1::MEAN_SQUARED_ERROR);
  FillTraining(dataset.rows(), recipe.mutable_training());
  if (recipe.score().kind() == v1::SCORE_KIND_UNSPECIFIED) recipe.mutable_score()->set_kind(v1::WINDOW_NORMALISED);
  if (!recipe.calibration().has_holdout_fraction()) recipe.mutable_calibration()->set_holdout_fraction(0.2f);
  RETURN_IF_ERROR(CheckRanges(recipe));
  RETURN_IF_ERROR(CheckRegularizers(recipe.regularizer(), recipe.network().activation()));
  RETURN_IF_ERROR(
      CheckCorruption(recipe.corruption(), {.rows = recipe.features().window(), .features = dataset.features()}));
  RETURN_IF_ERROR(CheckTogether(recipe));
  if (const absl::Status status = Network::Create(BuildNetworkSpec(recipe, width)).status(); !status.ok()) {
    return Refuse(absl::StrCat("network.encoder: ", status.message()));
  }
  return recipe;
}

v1::NetworkSpec BuildNetworkSpec(const v1::Recipe& recipe, size_t width) {
  const v1::NetworkRecipe& network = recipe.network();
  v1::NetworkSpec spec;
  uint32_t inputs = static_cast<uint32_t>(width);
  const auto add = [&](std::string name, uint32_t outputs, v1::Activation activation) {
    v1::Layer* layer = spec.add_layers();
    layer->set_name(std::move(name));
    layer->mutable_dense()->set_inputs(inputs);
    layer->mutable_dense()->set_outputs(outputs);
    layer->mutable_dense()->set_activation(activation);
    inputs = outputs;
  };
  const int depth = network.encoder_size();
  for (int i = 0; i + 1 < depth; ++i) add(absl::StrCat("encoder_", i + 1), network.encoder(i), network.activation());
  add("code", network.encoder(depth - 1), network.activation());
  spec.set_code_layer(static_cast<uint32_t>(depth - 1));
  for (int i = depth - 2; i >= 0; --i)
    add(absl::StrCat("decoder_", depth - 1 - i), network.encoder(i), network.activation());
  add("output", static_cast<uint32_t>(width), network.output_activation());
  return spec;
}

std::string FormatRecipe(const v1::Recipe& recipe) {
  std::string text;
  google::protobuf::TextFormat::PrintToString(recipe, &text);
  return text;
}

}  // namespace astray
