#include "engine/nn/loss.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <unsupported/Eigen/SpecialFunctions>

// Compiled once for each kind of vector.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/nn/loss.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "engine/nn/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace astray {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// At most `count` values are added in float; the sums of such blocks in double.
constexpr size_t kFloatSum = 1024;

// SumOfLosses of a loss that is evaluate(d, z, target, slope) value by value; observed and slopes may be null.
template <class Evaluate>
HWY_INLINE double SumOf(size_t n, const float* z, const float* target, const float* observed, float scale,
                        float* slopes, Evaluate evaluate) {
  double sum = 0;
  for (size_t begin = 0; begin < n; begin += kFloatSum) {
    const hn::ScalableTag<float> wide;
    auto wide_sums = hn::Zero(wide);
    double rest = 0;
    ForEachLanes(HWY_MIN(kFloatSum, n - begin), [&](auto d, size_t j) HWY_ATTR {
      const size_t i = begin + j;
      const auto weight = observed == nullptr ? hn::Set(d, 1.0f) : hn::LoadU(d, observed + i);
      auto slope = hn::Zero(d);
      const auto loss = hn::Mul(weight, evaluate(d, hn::LoadU(d, z + i), hn::LoadU(d, target + i), slope));
      if (slopes != nullptr) hn::StoreU(hn::Mul(hn::Mul(weight, hn::Set(d, scale)), slope), d, slopes + i);
      if constexpr (std::is_same_v<decltype(d), hn::ScalableTag<float>>) {
        wide_sums = hn::Add(wide_sums, loss);
      } else {
        rest += double{hn::GetLane(hn::SumOfLanes(d, loss))};
      }
    });
    sum += double{hn::GetLane(hn::SumOfLanes(wide, wide_sums))} + rest;
  }
  return sum;
}

double SumOfSquaredErrors(size_t n, const float* z, const float* target, const float* observed, float scale,
                          float* slopes) {
  return SumOf(n, z, target, observed, scale, slopes, [](auto, auto y, auto x, auto& slope) HWY_ATTR {
    const auto difference = hn::Sub(y, x);
    slope = hn::Add(difference, difference);
    return hn::Mul(difference, difference);
  });
}

double SumOfHuberLosses(size_t n, const float* z, const float* target, const float* observed, float scale,
                        float* slopes) {
  return SumOf(n, z, target, observed, scale, slopes, [](auto d, auto y, auto x, auto& slope) HWY_ATTR {
    const auto difference = hn::Sub(y, x);
    const auto one = hn::Set(d, 1.0f), half = hn::Set(d, 0.5f), size = hn::Abs(difference);
    const auto inside = hn::Le(size, one);
    slope = hn::IfThenElse(inside, difference, hn::CopySign(one, difference));
    return hn::IfThenElse(inside, hn::Mul(half, hn::Mul(size, size)), hn::Sub(size, half));
  });
}

// -(x ln s(z) + (1 - x) ln(1 - s(z))) of the logit z, with e^-|z|, which cannot overflow.
double SumOfCrossEntropies(size_t n, const float* z, const float* target, const float* observed, float scale,
                           float* slopes) {
  return SumOf(n, z, target, observed, scale, slopes, [](auto d, auto logit, auto x, auto& slope) HWY_ATTR {
    const auto one = hn::Set(d, 1.0f), power = hn::Exp(d, hn::Neg(hn::Abs(logit)));
    const auto larger = hn::Div(one, hn::Add(one, power));  // of s(z) and 1 - s(z)
    const auto sigmoid = hn::IfThenElse(hn::Ge(logit, hn::Zero(d)), larger, hn::Mul(power, larger));
    slope = hn::Sub(sigmoid, x);
    const auto softplus = hn::Add(hn::Max(logit, hn::Zero(d)), hn::Log1p(d, power));
    return hn::Sub(softplus, hn::Mul(x, logit));
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace astray
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace astray {
namespace {

HWY_EXPORT(SumOfSquaredErrors);
HWY_EXPORT(SumOfHuberLosses);
HWY_EXPORT(SumOfCrossEntropies);

double Softplus(double z) { return std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z))); }
double Sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

// std::lgamma writes the sign to a global variable, which threads would race for.
double LogGamma(double x) {
  int sign;
  return lgamma_r(x, &sign);
}

double SquaredError(double difference) { return difference * difference; }

double Huber(double difference) {
  const double size = std::abs(difference);
  return size <= 1 ? 0.5 * difference * difference : size - 0.5;
}

// -(x ln s(z) + (1 - x) ln(1 - s(z))) of the logit z.
double CrossEntropy(double z, double x) { return Softplus(z) - x * z; }

// ln of the mean, ln of the dispersion, logit of the share of extra zeros.
struct Heads {
  double mean, dispersion, zeros;
};

struct CountSlope {
  double loss;
  Heads slope;
};

// Beyond these the likelihood is flat in double precision; there the slope is 0.
constexpr double kMaxLogMean = 30, kMaxLogDispersion = 15;

// The negative log-likelihood of a count k under ZINB(m, d, p), and its slope by each head.
CountSlope CountLoss(const Heads& heads, double k) {
  const double log_m = std::clamp(heads.mean, -kMaxLogMean, kMaxLogMean);
  const double log_d = std::clamp(heads.dispersion, -kMaxLogDispersion, kMaxLogDispersion);
  const bool mean_moves = log_m == heads.mean, dispersion_moves = log_d == heads.dispersion;
  const double m = std::exp(log_m), d = std::exp(log_d), p = Sigmoid(heads.zeros);
  const double log_rest = std::log1p(m / d);  // ln((d + m) / d)
  CountSlope result;
  if (k > 0) {
    result.loss = LogGamma(d) + LogGamma(k + 1) - LogGamma(k + d) + (d + k) * log_rest + k * (log_d - log_m) +
                  Softplus(heads.zeros);
    const double by_d =
        Eigen::numext::digamma(d) - Eigen::numext::digamma(k + d) + log_rest - (d + k) * m / (d * (d + m)) + k / d;
    result.slope = {m * (d + k) / (d + m) - k, d * by_d, p};
  } else {
    // -ln(p + (1 - p) e^q), q = ln NB(0) = -d ln((d + m) / d), with p as a logit.
    const double q = -d * log_rest, high = std::max(heads.zeros, q);
    result.loss = Softplus(heads.zeros) - (high + std::log1p(std::exp(-std::abs(heads.zeros - q))));
    const double extra = Sigmoid(heads.zeros - q);  // how likely this zero is an extra one
    const double by_q = extra - 1;
    result.slope = {by_q * -d * m / (d + m), by_q * d * (m / (d + m) - log_rest), p - extra};
  }
  if (!mean_moves) result.slope.mean = 0;
  if (!dispersion_moves) result.slope.dispersion = 0;
  return result;
}

double CountOf(double scaled) { return std::max(0.0, std::expm1(std::min(scaled, kMaxLogMean))); }

double SumOfCountLosses(std::span<const float> z, std::span<const float> target, std::span<const float> observed,
                        float scale, std::span<float> slopes) {
  const size_t n = target.size();
  double sum = 0;
  for (size_t j = 0; j < n; ++j) {
    const double weight = observed.empty() ? 1 : observed[j];
    const CountSlope at = CountLoss({z[j], z[n + j], z[2 * n + j]}, CountOf(target[j]));
    sum += weight * at.loss;
    if (slopes.empty()) continue;
    slopes[j] = static_cast<float>(weight * scale * at.slope.mean);
    slopes[n + j] = static_cast<float>(weight * scale * at.slope.dispersion);
    slopes[2 * n + j] = static_cast<float>(weight * scale * at.slope.zeros);
  }
  return sum;
}

}  // namespace

v1::Activation ActivationOf(v1::Loss loss) {
  switch (loss) {
    case v1::BINARY_CROSS_ENTROPY:
      return v1::SIGMOID;
    case v1::ZERO_INFLATED_NEGATIVE_BINOMIAL:
      return v1::ZERO_INFLATED_COUNTS;
    default:
      return v1::ACTIVATION_UNSPECIFIED;
  }
}

double SumOfLosses(v1::Loss loss, std::span<const float> z, std::span<const float> target,
                   std::span<const float> observed, float scale, std::span<float> slopes) {
  const float* const weights = observed.empty() ? nullptr : observed.data();
  float* const to = slopes.empty() ? nullptr : slopes.data();
  switch (loss) {
    case v1::BINARY_CROSS_ENTROPY:
      return HWY_DYNAMIC_DISPATCH(SumOfCrossEntropies)(target.size(), z.data(), target.data(), weights, scale, to);
    case v1::HUBER:
      return HWY_DYNAMIC_DISPATCH(SumOfHuberLosses)(target.size(), z.data(), target.data(), weights, scale, to);
    case v1::ZERO_INFLATED_NEGATIVE_BINOMIAL:
      return SumOfCountLosses(z, target, observed, scale, slopes);
    default:
      return HWY_DYNAMIC_DISPATCH(SumOfSquaredErrors)(target.size(), z.data(), target.data(), weights, scale, to);
  }
}

double LossAt(v1::Loss loss, std::span<const float> output, size_t j, float target) {
  if (loss == v1::ZERO_INFLATED_NEGATIVE_BINOMIAL) {
    const size_t n = output.size() / 3;
    // The first head comes as ln(1 + m).
    const double log_mean = std::log(std::max(1e-12, std::expm1(std::min<double>(output[j], kMaxLogMean))));
    return CountLoss({log_mean, output[n + j], output[2 * n + j]}, CountOf(target)).loss;
  }
  if (loss == v1::BINARY_CROSS_ENTROPY) {
    constexpr double kEdge = 1e-7;  // a saturated float32 sigmoid
    const double y = std::clamp<double>(output[j], kEdge, 1 - kEdge);
    return CrossEntropy(std::log(y / (1 - y)), target);
  }
  const double difference = double{output[j]} - target;
  return loss == v1::HUBER ? Huber(difference) : SquaredError(difference);
}

}  // namespace astray
#endif  // HWY_ONCE
