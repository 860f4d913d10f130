#include "engine/train/trainer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/random.h"
#include "engine/base/status_macros.h"
#include "engine/base/thread_team.h"
#include "engine/train/corruption.h"
#include "engine/train/network_recipe.h"
#include "engine/train/random_streams.h"
#include "engine/train/training_batch.h"
#include "engine/train/training_step.h"

namespace astray {
namespace {

// The held-out vectors, corrupted once.
class Validation {
 public:
  static absl::StatusOr<Validation> Create(const v1::Recipe& recipe, const VectorSet& vectors, size_t batch_size) {
    ASSIGN_OR_RETURN(Corruptor corruptor, Corruptor::Create(recipe.corruption(), TokensOf(recipe, vectors),
                                                            Random(recipe.seed(), kHeldOutCorruptionStream)));
    Validation validation;
    for (size_t begin = 0; begin < vectors.size(); begin += batch_size) {
      std::vector<size_t> picked(std::min(batch_size, vectors.size() - begin));
      std::iota(picked.begin(), picked.end(), begin);
      TrainingBatch batch(batch_size, vectors.width());
      batch.Gather(vectors, picked);
      batch.Corrupt(corruptor);
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
                                            const VectorSet& validation, Network* network, ThreadTeam* team) {
    ASSIGN_OR_RETURN(TrainingStep step, TrainingStep::Create(recipe, training, network, team));
    ASSIGN_OR_RETURN(Validation held_out, Validation::Create(recipe, validation, recipe.training().batch_size()));
    return TrainingRun(recipe, network, std::move(step), std::move(held_out));
  }

  bool finished() const { return result_.steps == settings().max_steps() || stopped_early(); }
  bool stopped_early() const { return since_best_ >= settings().patience(); }

  // To the next validation.
  absl::Status Advance() {
    double sum = 0;
    uint64_t steps = 0;
    do {
      ASSIGN_OR_RETURN(const double loss, step_.Run());
      ++result_.steps;
      if (!std::isfinite(loss)) return NotFinite();
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
    checkpoint->set_first_moment(PackFloats(step_.optimizer().first_moment()));
    checkpoint->set_second_moment(PackFloats(step_.optimizer().second_moment()));
    checkpoint->set_best_validation_loss(best_);
    checkpoint->set_best_step(result_.best_step);
    checkpoint->set_validations_since_best(since_best_);
    checkpoint->mutable_losses()->Assign(result_.losses.begin(), result_.losses.end());
    PackRandom(step_.random(), checkpoint->mutable_batch_random());
    PackRandom(step_.corruptor().random(), checkpoint->mutable_corruption_random());
    PackRandom(step_.gradient().dropout(), checkpoint->mutable_dropout_random());
  }

  absl::Status Resume(const v1::Checkpoint& checkpoint) {
    RETURN_IF_ERROR(UnpackFloats("parameters", checkpoint.parameters(), network_->parameters()));
    RETURN_IF_ERROR(UnpackFloats("best_parameters", checkpoint.best_parameters(), best_parameters_));
    RETURN_IF_ERROR(UnpackFloats("first_moment", checkpoint.first_moment(), step_.optimizer().first_moment()));
    RETURN_IF_ERROR(UnpackFloats("second_moment", checkpoint.second_moment(), step_.optimizer().second_moment()));
    RETURN_IF_ERROR(UnpackRandom("batch_random", checkpoint.batch_random(), &step_.random()));
    RETURN_IF_ERROR(UnpackRandom("corruption_random", checkpoint.corruption_random(), &step_.corruptor().random()));
    RETURN_IF_ERROR(UnpackRandom("dropout_random", checkpoint.dropout_random(), &step_.gradient().dropout()));
    step_.optimizer().set_steps(checkpoint.step());
    result_.steps = std::min<uint64_t>(checkpoint.step(), settings().max_steps());
    result_.best_step = checkpoint.best_step();
    result_.losses.assign(checkpoint.losses().begin(), checkpoint.losses().end());
    best_ = checkpoint.best_validation_loss();
    since_best_ = checkpoint.validations_since_best();
    return absl::OkStatus();
  }

 private:
  TrainingRun(const v1::Recipe& recipe, Network* network, TrainingStep step, Validation held_out)
      : recipe_(&recipe),
        network_(network),
        step_(std::move(step)),
        held_out_(std::move(held_out)),
        best_parameters_(network->parameters().begin(), network->parameters().end()) {}

  const v1::TrainingRecipe& settings() const { return recipe_->training(); }
  void RestoreBest() { std::ranges::copy(best_parameters_, network_->parameters().begin()); }

  absl::Status Validate(double training_loss) {
    ASSIGN_OR_RETURN(const double validation_loss, held_out_.Loss(step_.gradient()));
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
  Network* network_;
  TrainingStep step_;
  Validation held_out_;
  std::vector<float> best_parameters_;
  double best_ = std::numeric_limits<double>::infinity();
  uint64_t since_best_ = 0;
  TrainingResult result_;
};

}  // namespace

absl::StatusOr<TrainingResult> TrainNetwork(const v1::Recipe& recipe, const VectorSet& training,
                                            const VectorSet& validation, Network* network,
                                            const ProgressCallback& progress, Checkpoint checkpoint, size_t threads) {
  if (checkpoint.kept() && network->parameters().size() > kMaxCheckpointParameters) {
    return absl::InvalidArgumentError(absl::StrCat("checkpoint '", checkpoint.path, "': expected at most ",
                                                   kMaxCheckpointParameters, " parameters in the network, got ",
                                                   network->parameters().size()));
  }
  ThreadTeam team(threads);
  ASSIGN_OR_RETURN(TrainingRun run, TrainingRun::Create(recipe, training, validation, network, &team));
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
