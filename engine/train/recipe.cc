#include "engine/train/recipe.h"

#include <google/protobuf/text_format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"
#include "engine/base/text_proto.h"
#include "engine/detect/artifact.h"
#include "engine/detect/block_picker.h"
#include "engine/detect/deviation_rules.h"
#include "engine/detect/nearest_prototype.h"
#include "engine/detect/score_kind.h"
#include "engine/detect/stream_policy.h"
#include "engine/features/log_rules.h"
#include "engine/features/pipeline.h"
#include "engine/features/sequence.h"
#include "engine/nn/network.h"
#include "engine/nn/optimizer.h"
#include "engine/nn/regularizer.h"
#include "engine/train/corruption.h"
#include "engine/train/network_recipe.h"

namespace astray {
namespace {

// Below this many rows a window would leave too little to train, validate and calibrate on.
constexpr size_t kMinRowsForWindow = 100, kMinRowsForShortWindow = 200, kMinRowsForLongWindow = 1000;
constexpr uint32_t kShortestWindow = 10, kShortWindow = 20, kLongWindow = 40, kSeriesWindow = 60;
constexpr uint32_t kDefaultTSquaredRows = 5;
constexpr uint32_t kDefaultPrototypes = 256;

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
  if (!v1::Preset_IsValid(recipe.network().preset())) return Refuse("network.preset: unknown value");
  if (!v1::WeightPrecision_IsValid(recipe.network().weight_precision())) {
    return Refuse("network.weight_precision: unknown value");
  }
  if (!v1::ScoreKind_IsValid(recipe.score().kind())) return Refuse("score.kind: unknown value");
  for (const auto& [field, activation] :
       {std::pair{"network.activation", recipe.network().activation()},
        std::pair{"network.output_activation", recipe.network().output_activation()}}) {
    if (!v1::Activation_IsValid(activation)) return Refuse(absl::StrCat(field, ": unknown value"));
  }
  return absl::OkStatus();
}

absl::Status CheckPrototypes(const v1::Recipe& recipe, uint32_t prototypes) {
  if (prototypes > kMaxPrototypes) {
    return Refuse(absl::StrCat("score.prototypes: expected at most ", kMaxPrototypes, ", got ", prototypes));
  }
  if (recipe.features().window() > 1) return Refuse("score.prototypes: expected 0 for windows");
  if (recipe.score().t_squared_rows() > 0) return Refuse("score.prototypes: expected 0 with score.t_squared_rows");
  if (recipe.rule().empty()) return absl::OkStatus();
  return Refuse("score.prototypes: expected 0 with rules, which are about what the network expects");
}

// Before anybody waits for a training that cannot be scored. No kind: it is chosen after the training.
absl::Status CheckScore(const v1::Recipe& recipe, size_t features) {
  const v1::ScoreRecipe& score = recipe.score();
  RETURN_IF_ERROR(CheckTSquared(recipe, score.t_squared_rows(), features));
  if (score.prototypes() > 0) RETURN_IF_ERROR(CheckPrototypes(recipe, score.prototypes()));
  if (score.kind() == v1::SCORE_KIND_UNSPECIFIED) {
    if (!score.has_recent_rows()) return absl::OkStatus();
    return Refuse("score.recent_rows: needs a score.kind");
  }
  RETURN_IF_ERROR(CheckScoreKind("score.kind", score.kind(), features));
  return score.has_recent_rows() ? CheckCount("score.recent_rows", score.recent_rows(), recipe.features().window())
                                 : absl::OkStatus();
}

// For windows; on tables of single rows T² found nothing that the residual does not.
void FillTSquaredRows(size_t features, v1::Recipe* recipe) {
  v1::ScoreRecipe* score = recipe->mutable_score();
  if (score->has_t_squared_rows()) return;
  const uint32_t window = recipe->features().window(), rows = std::min(kDefaultTSquaredRows, window);
  score->set_t_squared_rows(window > 1 && CheckTSquared(*recipe, rows, features).ok() ? rows : 0);
}

// For tables: not tried with counts of log events, letters of sequences and images.
void FillPrototypes(v1::Recipe* recipe) {
  if (recipe->score().has_prototypes()) return;
  const bool table =
      !recipe->features().has_log() && !recipe->features().has_sequence() && !recipe->features().has_shape();
  const bool fits = table && CheckPrototypes(*recipe, kDefaultPrototypes).ok();
  recipe->mutable_score()->set_prototypes(fits ? kDefaultPrototypes : 0);
}

// Rows that a window of the default length has. Longer ones see slower faults, but held-out rows must hold some. A
// column by itself has nothing but its past to be told by.
uint32_t DefaultWindow(size_t rows, size_t features) {
  if (rows < kMinRowsForShortWindow) return kShortestWindow;
  if (rows < kMinRowsForLongWindow) return kShortWindow;
  return features == 1 ? kSeriesWindow : kLongWindow;
}

void FillFeatures(const Dataset& dataset, TimeOrder* order, v1::FeaturesRecipe* features) {
  if (features->scaling() == v1::SCALING_UNSPECIFIED)
    features->set_scaling(features->has_log() ? v1::LOG1P : v1::STANDARD);
  if (!features->has_window()) {
    const uint32_t window = DefaultWindow(dataset.rows(), dataset.features());
    const bool fits = dataset.rows() >= kMinRowsForWindow && dataset.features() * window <= Pipeline::kMaxWidth;
    features->set_window(fits && order->IsTimeOrdered(*features) ? window : 1);
  }
}

void FillCorruption(v1::Recipe* recipe) {
  const v1::FeaturesRecipe& features = recipe->features();
  if (features.has_log()) {
    // Logarithms of counts: noise of a third, and counts of other sessions, which are normal by themselves.
    recipe->add_corruption()->mutable_gaussian()->set_max_sigma(0.3f);
    recipe->add_corruption()->mutable_feature_swap()->set_probability(0.1f);
    return;
  }
  // In units of a standard deviation; a [0, 1] range is about four of them wide. A row alone is told from others by
  // less than a window: it takes more noise, or the network copies what is not normal, too.
  const float sigma = features.window() == 1 && !features.has_sequence() ? 2 : 1;
  recipe->add_corruption()->mutable_gaussian()->set_max_sigma(features.scaling() == v1::MIN_MAX ? sigma / 4 : sigma);
}

// Of windows a fifth of the rows. Single rows teach more than they calibrate: a tenth, or what the rate takes up to a
// fifth. The default rate has to do with what there is where a fifth is not enough for it.
float HoldoutFraction(size_t rows, bool windows, const v1::CalibrationRecipe& calibration) {
  constexpr float kLeast = 0.1f, kMost = 0.2f;
  constexpr double kSpare = 1.1;  // some rows may have no value at all
  if (windows) return kMost;
  const bool asked = calibration.has_false_positive_rate();
  const double rate = asked ? calibration.false_positive_rate() : kDefaultFalsePositiveRate;
  const double needed = kSpare * calibration.block_rows() * (1 / rate - 1) / static_cast<double>(rows);
  if (!(needed > kLeast)) return kLeast;
  if (needed <= kMost) return static_cast<float>(needed);
  return asked ? kMost : kLeast;
}

void FillTraining(size_t rows, bool windows, v1::TrainingRecipe* training) {
  if (!training->has_batch_size())
    training->set_batch_size(static_cast<uint32_t>(std::clamp<size_t>(rows / 2, 1, 128)));
  if (!training->has_max_steps()) training->set_max_steps(windows ? 2000 : 6000);
  if (!training->has_patience()) training->set_patience(windows ? 10 : 100);
  if (!training->has_steps_per_validation()) training->set_steps_per_validation(50);
  if (!training->has_validation_fraction()) training->set_validation_fraction(windows ? 0.1f : 0.05f);
  if (!training->has_clip_norm()) training->set_clip_norm(0);
  if (!training->has_warmup_steps()) training->set_warmup_steps(0);
  if (training->schedule() == v1::SCHEDULE_UNSPECIFIED) training->set_schedule(v1::CONSTANT);
  if (training->has_pretraining() && !training->pretraining().has_keep_probability()) {
    training->mutable_pretraining()->set_keep_probability(0.8f);
  }
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
  if (training.has_pretraining()) {
    const v1::Pretraining& pretraining = training.pretraining();
    RETURN_IF_ERROR(CheckCount("training.pretraining.steps", pretraining.steps(), 100'000'000));
    if (!(pretraining.keep_probability() > 0 && pretraining.keep_probability() <= 1)) {
      return Refuse(
          absl::StrCat("training.pretraining.keep_probability: expected (0, 1], got ", pretraining.keep_probability()));
    }
    if (!recipe.network().layers().empty()) {
      return Refuse("training.pretraining: needs layers that mirror each other: network.encoder, not network.layers");
    }
  }
  RETURN_IF_ERROR(CheckFraction("training.validation_fraction", training.validation_fraction()));
  RETURN_IF_ERROR(CheckFraction("calibration.holdout_fraction", recipe.calibration().holdout_fraction()));
  const uint32_t block_rows = recipe.calibration().block_rows();
  if (recipe.calibration().has_block_rows() && !(block_rows >= 1 && block_rows <= BlockPicker::kMaxBlockRows)) {
    return Refuse(
        absl::StrCat("calibration.block_rows: expected 1 to ", BlockPicker::kMaxBlockRows, ", got ", block_rows));
  }
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
  const bool counts = recipe.loss() == v1::ZERO_INFLATED_NEGATIVE_BINOMIAL;
  if (counts && recipe.features().scaling() != v1::LOG1P) {
    return Refuse(absl::StrCat("loss: ZERO_INFLATED_NEGATIVE_BINOMIAL is of counts, but features.scaling is ",
                               v1::Scaling_Name(recipe.features().scaling()), "; use LOG1P"));
  }
  if (counts != (output == v1::ZERO_INFLATED_COUNTS)) {
    return Refuse(absl::StrCat("network.output_activation: loss ", v1::Loss_Name(recipe.loss()), " and ",
                               v1::Activation_Name(output), " do not go together; leave it out"));
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

// A sequence's columns are the transform's, and there is no time among sequences.
absl::Status CheckSequence(const v1::FeaturesRecipe& features, const Dataset& dataset) {
  ASSIGN_OR_RETURN(const SequenceTransform transform, SequenceTransform::Create(features.sequence()));
  if (features.window() != 1) {
    return Refuse(absl::StrCat("features.window: expected 1 for sequences, got ", features.window()));
  }
  if (dataset.feature_names == transform.FeatureNames()) return absl::OkStatus();
  return Refuse(absl::StrCat("features.sequence: is for FASTA data, or columns called '",
                             transform.FeatureNames().front(), "' to '", transform.FeatureNames().back(), "'"));
}

// A session is a row, and sessions overlap in time.
absl::Status FillLog(v1::FeaturesRecipe* features) {
  if (features->has_sequence()) return Refuse("features: expected one of sequence and log, got both");
  if (features->window() != 1) {
    return Refuse(absl::StrCat("features.window: expected 1 for sessions of a log, got ", features->window()));
  }
  ASSIGN_OR_RETURN(const LogRules rules, LogRules::Create(features->log()));
  *features->mutable_log() = rules.recipe();
  return absl::OkStatus();
}

// A likelihood of counts is of numbers from 0 on.
absl::Status CheckCounts(const Dataset& dataset) {
  const auto negative = std::ranges::find_if(dataset.values, [](float value) { return value < 0; });
  if (negative == dataset.values.end()) return absl::OkStatus();
  const auto index = static_cast<size_t>(negative - dataset.values.begin());
  return Refuse(absl::StrCat("loss: ZERO_INFLATED_NEGATIVE_BINOMIAL is of counts: column '",
                             dataset.feature_names[index % dataset.features()], "' row ",
                             index / dataset.features() + 1, ": expected 0 or more, got ", *negative));
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
  TimeOrder order(dataset);
  return CompleteRecipe(std::move(recipe), dataset, &order);
}

absl::StatusOr<v1::Recipe> CompleteRecipe(v1::Recipe recipe, const Dataset& dataset, TimeOrder* order) {
  RETURN_IF_ERROR(CheckModelName(recipe.name()));
  RETURN_IF_ERROR(CheckEnums(recipe));
  if (!recipe.has_seed()) recipe.set_seed(1);
  FillFeatures(dataset, order, recipe.mutable_features());
  RETURN_IF_ERROR(CheckCount("features.window", recipe.features().window(), Pipeline::kMaxWindow));
  if (recipe.features().has_sequence()) RETURN_IF_ERROR(CheckSequence(recipe.features(), dataset));
  if (recipe.features().has_log()) RETURN_IF_ERROR(FillLog(recipe.mutable_features()));
  const size_t width = dataset.features() * recipe.features().window();
  if (width < 1 || width > Pipeline::kMaxWidth) {
    return Refuse(absl::StrCat("features.window: expected at most ", Pipeline::kMaxWidth, " values in a vector, got ",
                               dataset.features(), " features x ", recipe.features().window(), " rows"));
  }
  FillTSquaredRows(dataset.features(), &recipe);
  FillPrototypes(&recipe);
  RETURN_IF_ERROR(CheckScore(recipe, dataset.features()));
  if (recipe.loss() == v1::LOSS_UNSPECIFIED) recipe.set_loss(v1::MEAN_SQUARED_ERROR);
  const TensorShape shape = VectorShapeOf(recipe, dataset.features());
  if (shape.size() != width) {
    return Refuse(absl::StrCat("features.shape: expected ", width, " values (", dataset.features(), " features x ",
                               recipe.features().window(), " rows), got ", shape.height, " x ", shape.width, " x ",
                               shape.channels));
  }
  RETURN_IF_ERROR(FillNetwork(shape, &recipe));
  if (recipe.corruption().empty()) FillCorruption(&recipe);
  FillTraining(dataset.rows(), recipe.features().window() > 1, recipe.mutable_training());
  if (!recipe.calibration().has_block_rows()) recipe.mutable_calibration()->set_block_rows(1);
  if (!recipe.calibration().has_holdout_fraction()) {
    recipe.mutable_calibration()->set_holdout_fraction(
        HoldoutFraction(dataset.rows(), recipe.features().window() > 1, recipe.calibration()));
  }
  ASSIGN_OR_RETURN(const StreamPolicy policy, StreamPolicy::FromRecipe(recipe));
  policy.Fill(&recipe);
  RETURN_IF_ERROR(CheckRanges(recipe));
  RETURN_IF_ERROR(CheckCorruption(recipe.corruption(), TokensOf(shape)));
  RETURN_IF_ERROR(CheckTogether(recipe));
  RETURN_IF_ERROR(CheckDeviationRules(recipe.rule(), dataset.feature_names, recipe.score().kind(), recipe.loss()));
  if (recipe.loss() == v1::ZERO_INFLATED_NEGATIVE_BINOMIAL) RETURN_IF_ERROR(CheckCounts(dataset));
  ASSIGN_OR_RETURN(const Network network, Network::Create(BuildNetworkSpec(recipe, width)));
  RETURN_IF_ERROR(CheckRegularizers(recipe.regularizer(), network));
  return recipe;
}

absl::Status CheckTSquared(const v1::Recipe& recipe, uint32_t rows, size_t features) {
  if (rows == 0) return absl::OkStatus();
  RETURN_IF_ERROR(CheckTSquaredRows("score.t_squared_rows", rows, features, recipe.features().window()));
  if (recipe.score().kind() == v1::TRAINING_LOSS) {
    return Refuse("score.t_squared_rows: expected 0 with score.kind TRAINING_LOSS");
  }
  if (recipe.rule().empty()) return absl::OkStatus();
  return Refuse("score.t_squared_rows: expected 0 with rules, which are about what the network expects");
}

std::string FormatRecipe(const v1::Recipe& recipe) {
  std::string text;
  google::protobuf::TextFormat::PrintToString(recipe, &text);
  return text;
}

}  // namespace astray
