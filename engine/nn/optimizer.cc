#include "engine/nn/optimizer.h"

#include <cmath>

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

void Optimizer::Step(std::span<const float> gradient, std::span<float> parameters) {
  ++steps_;
  const size_t count = parameters.size();
  const float* g = gradient.data();
  float* p = parameters.data();
  float* m = first_moment_.data();
  if (kind_ == Kind::kSgd) {
    const float momentum = static_cast<float>(momentum_), rate = static_cast<float>(learning_rate_);
    for (size_t i = 0; i < count; ++i) {
      m[i] = momentum * m[i] + g[i];
      p[i] -= rate * m[i];
    }
    return;
  }
  // Kingma & Ba 2015, algorithm 1, with the bias corrections folded into the step size and epsilon.
  const double steps = static_cast<double>(steps_);
  const double correction2 = std::sqrt(1.0 - std::pow(beta2_, steps));
  const float rate = static_cast<float>(learning_rate_ * correction2 / (1.0 - std::pow(beta1_, steps)));
  const float epsilon = static_cast<float>(epsilon_ * correction2);
  const float keep = static_cast<float>(1.0 - learning_rate_ * weight_decay_);
  const float beta1 = static_cast<float>(beta1_), beta2 = static_cast<float>(beta2_);
  float* v = second_moment_.data();
  for (size_t i = 0; i < count; ++i) {
    m[i] = beta1 * m[i] + (1.0f - beta1) * g[i];
    v[i] = beta2 * v[i] + (1.0f - beta2) * g[i] * g[i];
    p[i] = keep * p[i] - rate * m[i] / (std::sqrt(v[i]) + epsilon);
  }
}

}  // namespace astray
