#include "engine/train/trainer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

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

absl::Status NotFinite(uint64_t step) {
  return absl::InternalError(absl::StrCat(
      "training: the loss at step ", step,
      " is not a finite number; lower the optimizer's learning_rate, or look for extreme values in the data"));
}

}  // namespace

absl::StatusOr<TrainingResult> TrainNetwork(const v1::Recipe& recipe, const VectorSet& training,
                                            const VectorSet& validation, Network* network,
                                            const std::function<void(const TrainProgress&)>& progress) {
  const v1::TrainingRecipe& settings = recipe.training();
  const size_t batch_size = settings.batch_size();
  ASSIGN_OR_RETURN(const auto gradient, Gradient::Create(*network, recipe.loss(), batch_size, recipe.regularizer()));
  ASSIGN_OR_RETURN(Optimizer optimizer, Optimizer::Create(settings, network->parameters().size()));
  ASSIGN_OR_RETURN(Corruptor corruptor,
                   Corruptor::Create(recipe.corruption(), TokensOf(recipe, training), Random(recipe.seed(), kCorruptionStream)));
  ASSIGN_OR_RETURN(const Validation held_out, Validation::Create(recipe, validation, batch_size));
  Random random(recipe.seed(), kBatchStream);
  TrainingBatch batch(batch_size, training.width());

  std::vector<float> best_parameters(network->parameters().begin(), network->parameters().end());
  const auto restore_best = [&] { std::ranges::copy(best_parameters, network->parameters().begin()); };
  double best = std::numeric_limits<double>::infinity(), running = 0;
  uint64_t since_best = 0, summed = 0;
  TrainingResult result;
  for (uint64_t step = 1; step <= settings.max_steps(); ++step) {
    for (size_t slot = 0; slot < batch_size; ++slot) {
      const size_t i = random.UniformInt(training.size());
      batch.Set(slot, training.values(i), training.observed(i));
    }
    batch.Corrupt(corruptor, batch_size);
    ASSIGN_OR_RETURN(const double loss, gradient->Compute(batch.input(), batch.target(), batch.observed()));
    if (!std::isfinite(loss)) {
      restore_best();
      return NotFinite(step);
    }
    optimizer.Step(gradient->gradient(), network->parameters());
    result.steps = step;
    running += loss;
    ++summed;
    if (step % settings.steps_per_validation() != 0 && step != settings.max_steps()) continue;

    ASSIGN_OR_RETURN(const double validation_loss, held_out.Loss(*gradient));
    if (!std::isfinite(validation_loss)) {
      restore_best();
      return NotFinite(step);
    }
    v1::LossPoint point;
    point.set_step(step);
    point.set_training(running / static_cast<double>(summed));
    point.set_validation(validation_loss);
    result.losses.push_back(point);
    running = 0;
    summed = 0;
    if (validation_loss < best) {
      best = validation_loss;
      result.best_step = step;
      since_best = 0;
      std::ranges::copy(network->parameters(), best_parameters.begin());
    } else {
      ++since_best;
    }
    if (progress) {
      progress({.step = step,
                .max_steps = settings.max_steps(),
                .training_loss = point.training(),
                .validation_loss = validation_loss,
                .best_validation_loss = best});
    }
    if (since_best >= settings.patience()) {
      result.stopped_early = true;
      break;
    }
  }
  restore_best();
  return result;
}

}  // namespace astray
