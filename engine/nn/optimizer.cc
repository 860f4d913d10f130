#include "engine/nn/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

absl::Status CheckLearningRate(absl::string_view field, double value) {
  if (value > 0 && std::isfinite(value)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("training.", field, ": expected a positive number, got ", value));
}

// For decay rates of moving averages.
absl::Status CheckUnitInterval(absl::string_view field, double value) {
  if (value >= 0 && value < 1) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("training.", field, ": expected a number in [0, 1), got ", value));
}

}  // namespace

absl::StatusOr<Optimizer> Optimizer::Create(const v1::TrainingRecipe& recipe, size_t parameter_count) {
  Optimizer optimizer;
  if (!(recipe.clip_norm() >= 0 && std::isfinite(recipe.clip_norm()))) {
    return absl::InvalidArgumentError(
        absl::StrCat("training.clip_norm: expected a number above 0, or 0 for none, got ", recipe.clip_norm()));
  }
  optimizer.clip_norm_ = recipe.clip_norm();
  optimizer.warmup_steps_ = recipe.warmup_steps();
  if (recipe.schedule() == v1::COSINE) optimizer.cosine_steps_ = std::max<uint32_t>(1, recipe.max_steps());
  optimizer.first_moment_ = AlignedBuffer(parameter_count);
  if (recipe.has_sgd()) {
    optimizer.kind_ = Kind::kSgd;
    RETURN_IF_ERROR(CheckLearningRate("sgd.learning_rate", recipe.sgd().learning_rate()));
    RETURN_IF_ERROR(CheckUnitInterval("sgd.momentum", recipe.sgd().momentum()));
    optimizer.learning_rate_ = recipe.sgd().learning_rate();
    optimizer.momentum_ = recipe.sgd().momentum();
    return optimizer;
  }
  const v1::AdamOptimizer& adam = recipe.adam();
  optimizer.learning_rate_ = adam.learning_rate() == 0 ? 2e-3 : adam.learning_rate();
  optimizer.beta1_ = adam.has_beta1() ? adam.beta1() : 0.9;
  optimizer.beta2_ = adam.has_beta2() ? adam.beta2() : 0.999;
  optimizer.epsilon_ = adam.has_epsilon() ? adam.epsilon() : 1e-8;
  optimizer.weight_decay_ = adam.weight_decay();
  RETURN_IF_ERROR(CheckLearningRate("adam.learning_rate", optimizer.learning_rate_));
  RETURN_IF_ERROR(CheckUnitInterval("adam.beta1", optimizer.beta1_));
  RETURN_IF_ERROR(CheckUnitInterval("adam.beta2", optimizer.beta2_));
  RETURN_IF_ERROR(CheckLearningRate("adam.epsilon", optimizer.epsilon_));
  if (!(optimizer.weight_decay_ >= 0 && optimizer.learning_rate_ * optimizer.weight_decay_ < 1)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "training.adam.weight_decay: expected a number in [0, 1 / learning_rate), got ", optimizer.weight_decay_));
  }
  optimizer.second_moment_ = AlignedBuffer(parameter_count);
  return optimizer;
}

double Optimizer::rate_factor() const {
  const double step = static_cast<double>(steps_);
  double factor = 1;
  if (warmup_steps_ > 0) factor = std::min(1.0, (step + 1) / static_cast<double>(warmup_steps_));
  if (cosine_steps_ > 0) {
    const double progress = std::min(1.0, step / static_cast<double>(cosine_steps_));
    factor *= 0.5 * (1 + std::cos(std::numbers::pi * progress));
  }
  return factor;
}

// What a gradient is multiplied by, so that it is no longer than clip_norm.
float Optimizer::ClipFactor(std::span<const float> gradient) const {
  if (clip_norm_ == 0) return 1;
  double square = 0;
  for (const float g : gradient) square += static_cast<double>(g) * g;
  const double norm = std::sqrt(square);
  return norm > clip_norm_ ? static_cast<float>(clip_norm_ / norm) : 1.0f;
}

void Optimizer::Step(std::span<const float> gradient, std::span<float> parameters) {
  const double learning_rate = learning_rate_ * rate_factor();
  const float clip = ClipFactor(gradient);
  ++steps_;
  const size_t count = parameters.size();
  const float* g = gradient.data();
  float* p = parameters.data();
  float* m = first_moment_.data();
  if (kind_ == Kind::kSgd) {
    const float momentum = static_cast<float>(momentum_), rate = static_cast<float>(learning_rate);
    for (size_t i = 0; i < count; ++i) {
      m[i] = momentum * m[i] + clip * g[i];
      p[i] -= rate * m[i];
    }
    return;
  }
  // Kingma & Ba 2015, algorithm 1, with the bias corrections folded into the step size and epsilon.
  const double steps = static_cast<double>(steps_);
  const double correction2 = std::sqrt(1.0 - std::pow(beta2_, steps));
  const float rate = static_cast<float>(learning_rate * correction2 / (1.0 - std::pow(beta1_, steps)));
  const float epsilon = static_cast<float>(epsilon_ * correction2);
  const float keep = static_cast<float>(1.0 - learning_rate * weight_decay_);
  const float beta1 = static_cast<float>(beta1_), beta2 = static_cast<float>(beta2_);
  float* v = second_moment_.data();
  for (size_t i = 0; i < count; ++i) {
    const float clipped = clip * g[i];
    m[i] = beta1 * m[i] + (1.0f - beta1) * clipped;
    v[i] = beta2 * v[i] + (1.0f - beta2) * clipped * clipped;
    p[i] = keep * p[i] - rate * m[i] / (std::sqrt(v[i]) + epsilon);
  }
}

}  // namespace astray
