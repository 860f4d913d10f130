#include "engine/train/trainer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/random.h"
#include "engine/base/status_macros.h"
#include "engine/nn/gradient.h"
#include "engine/nn/optimizer.h"
#include "engine/train/corruption.h"
#include "engine/train/network_recipe.h"
#include "engine/train/random_streams.h"

namespace astray {
namespace {

// Inputs, targets and masks of a fixed number of vectors.
class TrainingBatch {
 public:
  TrainingBatch(size_t vectors, size_t width)
      : width_(width), input_(vectors * width), target_(vectors * width), observed_(vectors * width) {}

  void Set(size_t slot, std::span<const float> values, std::span<const float> observed) {
    std::ranges::copy(values, target_.begin() + static_cast<std::ptrdiff_t>(slot * width_));
    std::ranges::copy(observed, observed_.begin() + static_cast<std::ptrdiff_t>(slot * width_));
  }
  // An empty slot adds nothing to a loss.
  void Clear(size_t slot) {
    std::fill_n(target_.begin() + static_cast<std::ptrdiff_t>(slot * width_), width_, 0.0f);
    std::fill_n(observed_.begin() + static_cast<std::ptrdiff_t>(slot * width_), width_, 0.0f);
  }
  // Empty slots lend no values to others.
  void Corrupt(Corruptor& corruptor, size_t vectors) {
    input_ = target_;
    corruptor.Apply(std::span(input_).first(vectors * width_));
  }
  double observed_count() const {
    double count = 0;
    for (const float o : observed_) count += o;
    return count;
  }
  const std::vector<float>& input() const { return input_; }
  const std::vector<float>& target() const { return target_; }
  const std::vector<float>& observed() const { return observed_; }

 private:
  size_t width_;
  std::vector<float> input_, target_, observed_;
};

// The held-out vectors, corrupted once.
class Validation {
 public:
  static absl::StatusOr<Validation> Create(const v1::Recipe& recipe, const VectorSet& vectors, size_t batch_size) {
    ASSIGN_OR_RETURN(Corruptor corruptor, Corruptor::Create(recipe.corruption(), TokensOf(recipe, vectors),
                                                            Random(recipe.seed(), kHeldOutCorruptionStream)));
    Validation validation;
    for (size_t begin = 0; begin < vectors.size(); begin += batch_size) {
      TrainingBatch batch(batch_size, vectors.width());
      for (size_t slot = 0; slot < batch_size; ++slot) {
        const size_t i = begin + slot;
        if (i < vectors.size()) {
          batch.Set(slot, vectors.values(i), vectors.observed(i));
        } else {
          batch.Clear(slot);
        }
      }
      batch.Corrupt(corruptor, std::min(batch_size, vectors.size() - begin));
      validation.batches_.push_back(std::move(batch));
    }
    return validation;
  }

  absl::StatusOr<double> Loss(Gradient& gradient) const {
    double sum = 0, count = 0;
    for (const TrainingBatch& batch : batches_) {
      ASSIGN_OR_RETURN(const double loss, gradient.Loss(batch.input(), batch.target(), batch.observed()));
      const double observed = batch.observed_count();
      sum += loss * observed;
      count += observed;
    }
    return count > 0 ? sum / count : 0;
  }

 private:
  std::vector<TrainingBatch> batches_;
};

// Everything that changes from step to step.
class TrainingRun {
 public:
  // All references must outlive it.
  static absl::StatusOr<TrainingRun> Create(const v1::Recipe& recipe, const VectorSet& training,
                                            const VectorSet& validation, Network* network) {
    const size_t batch_size = recipe.training().batch_size();
    ASSIGN_OR_RETURN(auto gradient, Gradient::Create(*network, recipe.loss(), batch_size, recipe.regularizer(),
                                                     Random(recipe.seed(), kDropoutStream)));
    ASSIGN_OR_RETURN(Optimizer optimizer, Optimizer::Create(recipe.training(), network->parameters().size()));
    ASSIGN_OR_RETURN(Corruptor corruptor, Corruptor::Create(recipe.corruption(), TokensOf(recipe, training),
                                                            Random(recipe.seed(), kCorruptionStream)));
    ASSIGN_OR_RETURN(Validation held_out, Validation::Create(recipe, validation, batch_size));
    return TrainingRun(recipe, training, network, std::move(gradient), std::move(optimizer), std::move(corruptor),
                       std::move(held_out));
  }

  bool finished() const { return result_.steps == settings().max_steps() || stopped_early(); }
  bool stopped_early() const { return since_best_ >= settings().patience(); }

  // To the next validation.
  absl::Status Advance() {
    double sum = 0;
    uint64_t steps = 0;
    do {
      for (size_t slot = 0; slot < settings().batch_size(); ++slot) {
        const size_t i = random_.UniformInt(training_->size());
        batch_.Set(slot, training_->values(i), training_->observed(i));
      }
      batch_.Corrupt(corruptor_, settings().batch_size());
      ASSIGN_OR_RETURN(const double loss, gradient_->Compute(batch_.input(), batch_.target(), batch_.observed()));
      ++result_.steps;
      if (!std::isfinite(loss)) return NotFinite();
      optimizer_.Step(gradient_->gradient(), network_->parameters());
      sum += loss;
      ++steps;
    } while (result_.steps % settings().steps_per_validation() != 0 && result_.steps != settings().max_steps());
    return Validate(sum / static_cast<double>(steps));
  }

  TrainProgress progress() const {
    const v1::LossPoint& last = result_.losses.back();
    return {.step = result_.steps,
            .max_steps = settings().max_steps(),
            .training_loss = last.training(),
            .validation_loss = last.validation(),
            .best_validation_loss = best_};
  }

  TrainingResult Finish() {
    RestoreBest();
    result_.stopped_early = stopped_early();
    result_.best_validation_loss = best_;
    return std::move(result_);
  }

  void SaveTo(v1::Checkpoint* checkpoint) {
    checkpoint->set_step(result_.steps);
    checkpoint->set_parameters(PackFloats(network_->parameters()));
    checkpoint->set_best_parameters(PackFloats(best_parameters_));
    checkpoint->set_first_moment(PackFloats(optimizer_.first_moment()));
    checkpoint->set_second_moment(PackFloats(optimizer_.second_moment()));
    checkpoint->set_best_validation_loss(best_);
    checkpoint->set_best_step(result_.best_step);
    checkpoint->set_validations_since_best(since_best_);
    checkpoint->mutable_losses()->Assign(result_.losses.begin(), result_.losses.end());
    PackRandom(random_, checkpoint->mutable_batch_random());
    PackRandom(corruptor_.random(), checkpoint->mutable_corruption_random());
    PackRandom(gradient_->dropout(), checkpoint->mutable_dropout_random());
  }

  absl::Status Resume(const v1::Checkpoint& checkpoint) {
    RETURN_IF_ERROR(UnpackFloats("parameters", checkpoint.parameters(), network_->parameters()));
    RETURN_IF_ERROR(UnpackFloats("best_parameters", checkpoint.best_parameters(), best_parameters_));
    RETURN_IF_ERROR(UnpackFloats("first_moment", checkpoint.first_moment(), optimizer_.first_moment()));
    RETURN_IF_ERROR(UnpackFloats("second_moment", checkpoint.second_moment(), optimizer_.second_moment()));
    RETURN_IF_ERROR(UnpackRandom("batch_random", checkpoint.batch_random(), &random_));
    RETURN_IF_ERROR(UnpackRandom("corruption_random", checkpoint.corruption_random(), &corruptor_.random()));
    RETURN_IF_ERROR(UnpackRandom("dropout_random", checkpoint.dropout_random(), &gradient_->dropout()));
    optimizer_.set_steps(checkpoint.step());
    result_.steps = std::min<uint64_t>(checkpoint.step(), settings().max_steps());
    result_.best_step = checkpoint.best_step();
    result_.losses.assign(checkpoint.losses().begin(), checkpoint.losses().end());
    best_ = checkpoint.best_validation_loss();
    since_best_ = checkpoint.validations_since_best();
    return absl::OkStatus();
  }

 private:
  TrainingRun(const v1::Recipe& recipe, const VectorSet& training, Network* network, std::unique_ptr<Gradient> gradient,
              Optimizer optimizer, Corruptor corruptor, Validation held_out)
      : recipe_(&recipe),
        training_(&training),
        network_(network),
        gradient_(std::move(gradient)),
        optimizer_(std::move(optimizer)),
        corruptor_(std::move(corruptor)),
        held_out_(std::move(held_out)),
        random_(recipe.seed(), kBatchStream),
        batch_(recipe.training().batch_size(), training.width()),
        best_parameters_(network->parameters().begin(), network->parameters().end()) {}

  const v1::TrainingRecipe& settings() const { return recipe_->training(); }
  void RestoreBest() { std::ranges::copy(best_parameters_, network_->parameters().begin()); }

  absl::Status Validate(double training_loss) {
    ASSIGN_OR_RETURN(const double validation_loss, held_out_.Loss(*gradient_));
    if (!std::isfinite(validation_loss)) return NotFinite();
    v1::LossPoint point;
    point.set_step(result_.steps);
    point.set_training(training_loss);
    point.set_validation(validation_loss);
    result_.losses.push_back(point);
    if (validation_loss < best_) {
      best_ = validation_loss;
      result_.best_step = result_.steps;
      since_best_ = 0;
      std::ranges::copy(network_->parameters(), best_parameters_.begin());
    } else {
      ++since_best_;
    }
    return absl::OkStatus();
  }

  absl::Status NotFinite() {
    RestoreBest();
    return absl::InternalError(absl::StrCat(
        "training: the loss at step ", result_.steps,
        " is not a finite number; lower the optimizer's learning_rate, or look for extreme values in the data"));
  }

  const v1::Recipe* recipe_;
  const VectorSet* training_;
  Network* network_;
  std::unique_ptr<Gradient> gradient_;
  Optimizer optimizer_;
  Corruptor corruptor_;
  Validation held_out_;
  Random random_;
  TrainingBatch batch_;
  std::vector<float> best_parameters_;
  double best_ = std::numeric_limits<double>::infinity();
  uint64_t since_best_ = 0;
  TrainingResult result_;
};

}  // namespace

absl::StatusOr<TrainingResult> TrainNetwork(const v1::Recipe& recipe, const VectorSet& training,
                                            const VectorSet& validation, Network* network,
                                            const ProgressCallback& progress, Checkpoint checkpoint) {
  if (checkpoint.kept() && network->parameters().size() > kMaxCheckpointParameters) {
    return absl::InvalidArgumentError(absl::StrCat("checkpoint '", checkpoint.path, "': expected at most ",
                                                   kMaxCheckpointParameters, " parameters in the network, got ",
                                                   network->parameters().size()));
  }
  ASSIGN_OR_RETURN(TrainingRun run, TrainingRun::Create(recipe, training, validation, network));
  if (checkpoint.begun()) RETURN_IF_ERROR(run.Resume(checkpoint.state));
  while (!run.finished()) {
    if (const absl::Status status = run.Advance(); !status.ok()) {
      if (!checkpoint.begun()) return status;
      return absl::Status(status.code(), absl::StrCat(status.message(), "; the last good state is in '",
                                                      checkpoint.path, "', training goes on from there"));
    }
    if (checkpoint.kept()) {
      run.SaveTo(&checkpoint.state);
      RETURN_IF_ERROR(WriteCheckpoint(checkpoint));
    }
    if (progress) progress(run.progress());
  }
  return run.Finish();
}

}  // namespace astray
