#include "engine/nn/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/status_macros.h"

// Compiled once for each kind of vector.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/nn/optimizer.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

#include "engine/nn/lanes-inl.h"

// What changes from step to step, as numbers of the loops below; the same for every target.
#ifndef ASTRAY_ENGINE_NN_OPTIMIZER_RATES_
#define ASTRAY_ENGINE_NN_OPTIMIZER_RATES_
namespace astray {
struct SgdRates {
  float clip, momentum, rate;
};
struct AdamRates {
  float clip, beta1, beta2, rate, epsilon, keep;
};
}  // namespace astray
#endif

HWY_BEFORE_NAMESPACE();
namespace astray {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// What decays for ever would end in denormal numbers, which cost a hundred times as much; so small it changes nothing.
template <class D, class V>
HWY_INLINE V Flushed(D d, V v) {
  return hn::IfThenElseZero(hn::Ge(hn::Abs(v), hn::Set(d, 1e-30f)), v);
}

// No operation is fused (CMakeLists.txt), so that every kind of vector gives the same bits.
void SgdStep(const SgdRates& rates, size_t count, const float* HWY_RESTRICT g, float* HWY_RESTRICT m,
             float* HWY_RESTRICT p) {
  ForEachLanes(count, [&](auto d, size_t i) HWY_ATTR {
    const auto velocity = hn::Add(hn::Mul(hn::Set(d, rates.momentum), hn::LoadU(d, m + i)),
                                  hn::Mul(hn::Set(d, rates.clip), hn::LoadU(d, g + i)));
    hn::StoreU(Flushed(d, velocity), d, m + i);
    hn::StoreU(hn::Sub(hn::LoadU(d, p + i), hn::Mul(hn::Set(d, rates.rate), velocity)), d, p + i);
  });
}

// Kingma & Ba 2015, algorithm 1, with the bias corrections folded into the step size and epsilon.
void AdamStep(const AdamRates& rates, size_t count, const float* HWY_RESTRICT g, float* HWY_RESTRICT m,
              float* HWY_RESTRICT v, float* HWY_RESTRICT p) {
  ForEachLanes(count, [&](auto d, size_t i) HWY_ATTR {
    const auto clipped = hn::Mul(hn::Set(d, rates.clip), hn::LoadU(d, g + i));
    const auto first = hn::Add(hn::Mul(hn::Set(d, rates.beta1), hn::LoadU(d, m + i)),
                               hn::Mul(hn::Set(d, 1.0f - rates.beta1), clipped));
    const auto second = hn::Add(hn::Mul(hn::Set(d, rates.beta2), hn::LoadU(d, v + i)),
                                hn::Mul(hn::Mul(hn::Set(d, 1.0f - rates.beta2), clipped), clipped));
    hn::StoreU(Flushed(d, first), d, m + i);
    hn::StoreU(Flushed(d, second), d, v + i);
    const auto step =
        hn::Div(hn::Mul(hn::Set(d, rates.rate), first), hn::Add(hn::Sqrt(second), hn::Set(d, rates.epsilon)));
    hn::StoreU(hn::Sub(hn::Mul(hn::Set(d, rates.keep), hn::LoadU(d, p + i)), step), d, p + i);
  });
}

// In double precision.
double SumOfSquares(size_t count, const float* g) {
  double sum = 0;
#if HWY_TARGET == HWY_SCALAR
  for (size_t i = 0; i < count; ++i) sum += double{g[i]} * g[i];
#else
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> half;
  auto sums = hn::Zero(d);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    const auto value = hn::PromoteTo(d, hn::LoadU(half, g + i));
    sums = hn::Add(sums, hn::Mul(value, value));
  }
  sum = hn::GetLane(hn::SumOfLanes(d, sums));
  for (; i < count; ++i) sum += double{g[i]} * g[i];
#endif
  return sum;
}

}  // namespace HWY_NAMESPACE
}  // namespace astray
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace astray {
namespace {

HWY_EXPORT(SgdStep);
HWY_EXPORT(AdamStep);
HWY_EXPORT(SumOfSquares);

// Parameters of one task: some microseconds.
constexpr size_t kChunk = 1 << 14;
size_t Chunks(size_t count) { return (count + kChunk - 1) / kChunk; }

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
  optimizer.squares_.resize(Chunks(parameter_count));
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
float Optimizer::ClipFactor(std::span<const float> gradient, ThreadTeam* team) {
  if (clip_norm_ == 0) return 1;
  RunOn(team, Chunks(gradient.size()), [&](size_t chunk) {
    const size_t begin = chunk * kChunk, count = std::min(kChunk, gradient.size() - begin);
    squares_[chunk] = HWY_DYNAMIC_DISPATCH(SumOfSquares)(count, gradient.data() + begin);
  });
  const double norm = std::sqrt(std::accumulate(squares_.begin(), squares_.end(), 0.0));
  return norm > clip_norm_ ? static_cast<float>(clip_norm_ / norm) : 1.0f;
}

void Optimizer::Step(std::span<const float> gradient, std::span<float> parameters, ThreadTeam* team) {
  const double learning_rate = learning_rate_ * rate_factor();
  const float clip = ClipFactor(gradient, team);
  ++steps_;
  const double steps = static_cast<double>(steps_), correction2 = std::sqrt(1.0 - std::pow(beta2_, steps));
  const SgdRates sgd = {clip, static_cast<float>(momentum_), static_cast<float>(learning_rate)};
  const AdamRates adam = {.clip = clip,
                          .beta1 = static_cast<float>(beta1_),
                          .beta2 = static_cast<float>(beta2_),
                          .rate = static_cast<float>(learning_rate * correction2 / (1.0 - std::pow(beta1_, steps))),
                          .epsilon = static_cast<float>(epsilon_ * correction2),
                          .keep = static_cast<float>(1.0 - learning_rate * weight_decay_)};
  RunOn(team, Chunks(parameters.size()), [&](size_t chunk) {
    const size_t begin = chunk * kChunk, count = std::min(kChunk, parameters.size() - begin);
    const float* g = gradient.data() + begin;
    float *m = first_moment_.data() + begin, *p = parameters.data() + begin;
    if (kind_ == Kind::kSgd) {
      HWY_DYNAMIC_DISPATCH(SgdStep)(sgd, count, g, m, p);
    } else {
      HWY_DYNAMIC_DISPATCH(AdamStep)(adam, count, g, m, second_moment_.data() + begin, p);
    }
  });
}

}  // namespace astray
#endif  // HWY_ONCE
