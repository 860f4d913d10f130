#include "engine/detect/tail_fit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace astray {
namespace {

// Shares of the errors that lie above the candidates for a start. From higher ones the law is further away, from lower
// ones the estimate is less sure.
constexpr std::array<double, 6> kShares = {TailFit::kLargestShare, 0.1, 0.075, 0.05, 0.03, 0.02};

constexpr double kNearZeroShape = 1e-9;

// Statistics that the test exceeds with these probabilities, of 20,000 samples of 500 excesses of the law each.
constexpr std::array<double, 10> kPValues = {0.75, 0.5, 0.25, 0.15, 0.1, 0.05, 0.025, 0.01, 0.005, 0.001};
struct CriticalValues {
  double shape;
  std::array<double, kPValues.size()> statistic;
};
constexpr std::array<CriticalValues, 10> kCriticalValues = {{
    {-0.5, {0.313, 0.446, 0.653, 0.820, 0.946, 1.173, 1.399, 1.692, 1.918, 2.423}},
    {-0.3, {0.303, 0.428, 0.620, 0.766, 0.888, 1.092, 1.306, 1.581, 1.816, 2.359}},
    {-0.2, {0.294, 0.416, 0.603, 0.740, 0.850, 1.050, 1.250, 1.541, 1.754, 2.357}},
    {-0.1, {0.287, 0.404, 0.587, 0.722, 0.829, 1.016, 1.219, 1.490, 1.706, 2.306}},
    {0.0, {0.284, 0.398, 0.569, 0.694, 0.795, 0.964, 1.156, 1.391, 1.588, 2.079}},
    {0.1, {0.275, 0.382, 0.544, 0.662, 0.758, 0.929, 1.096, 1.332, 1.517, 2.037}},
    {0.2, {0.272, 0.376, 0.531, 0.649, 0.742, 0.907, 1.070, 1.304, 1.457, 1.875}},
    {0.4, {0.261, 0.360, 0.505, 0.610, 0.696, 0.838, 0.993, 1.185, 1.328, 1.784}},
    {0.6, {0.259, 0.353, 0.492, 0.592, 0.674, 0.807, 0.947, 1.127, 1.263, 1.623}},
    {0.9, {0.251, 0.341, 0.469, 0.564, 0.639, 0.768, 0.895, 1.062, 1.216, 1.590}},
}};

// Where `value` lies between `from` and `to`: 0 to 1, and no further.
double Between(double value, double from, double to) { return std::clamp((value - from) / (to - from), 0.0, 1.0); }

double LogSurvival(double x, const TailFit::Law& law) {
  if (std::abs(law.shape) < kNearZeroShape) return -x / law.scale;
  const double inside = law.shape * x / law.scale;
  if (inside <= -1) return -std::numeric_limits<double>::infinity();
  return -std::log1p(inside) / law.shape;
}

}  // namespace

TailFit::Law TailFit::Estimate(std::span<const double> x) {
  // Zhang & Stephens 2009, with b = -shape / scale: the profile likelihood of b, weighed on a grid of it.
  const auto n = static_cast<double>(x.size());
  const size_t grid = 20 + static_cast<size_t>(std::sqrt(n));
  const double largest = x.back(), quartile = x[static_cast<size_t>(std::lround(n / 4)) - 1];
  const auto shape_of = [&](double b) {
    double sum = 0;
    for (const double value : x) sum += std::log1p(-b * value);
    return sum / n;
  };
  std::vector<double> bs(grid), log_likelihoods(grid);
  for (size_t i = 0; i < grid; ++i) {
    const double place = static_cast<double>(grid) / (static_cast<double>(i) + 0.5);
    bs[i] = 1 / largest + (1 - std::sqrt(place)) / (3 * quartile);
    const double shape = shape_of(bs[i]);
    log_likelihoods[i] = n * (std::log(-bs[i] / shape) - shape - 1);
  }
  const double best = *std::max_element(log_likelihoods.begin(), log_likelihoods.end());
  double b = 0, total = 0;
  for (size_t i = 0; i < grid; ++i) {
    const double weight = std::exp(log_likelihoods[i] - best);
    b += weight * bs[i];
    total += weight;
  }
  b /= total;
  const double shape = shape_of(b);
  return {.shape = shape, .scale = -shape / b};
}

double TailFit::AndersonDarling(std::span<const double> x, const Law& law) {
  const size_t n = x.size();
  constexpr double kLeast = 1e-300;
  double sum = 0;
  for (size_t i = 0; i < n; ++i) {
    const double below = -std::expm1(LogSurvival(x[i], law));
    const double log_above = std::max(LogSurvival(x[n - 1 - i], law), std::log(kLeast));
    sum += static_cast<double>(2 * i + 1) * (std::log(std::max(below, kLeast)) + log_above);
  }
  return -static_cast<double>(n) - sum / static_cast<double>(n);
}

double TailFit::TestPValue(double statistic, double shape) {
  size_t row = 1;
  while (row + 1 < kCriticalValues.size() && shape > kCriticalValues[row].shape) ++row;
  const CriticalValues &low = kCriticalValues[row - 1], &high = kCriticalValues[row];
  const double part = Between(shape, low.shape, high.shape);
  double below = 0, p_below = 1;
  for (size_t i = 0; i < kPValues.size(); ++i) {
    const double critical = low.statistic[i] + part * (high.statistic[i] - low.statistic[i]);
    if (statistic <= critical) {
      return std::exp(std::log(p_below) + Between(statistic, below, critical) * std::log(kPValues[i] / p_below));
    }
    below = critical;
    p_below = kPValues[i];
  }
  return kPValues.back();
}

absl::StatusOr<TailFit> TailFit::Fit(std::span<const float> largest, uint64_t samples) {
  std::string refused;
  size_t tried = 0;
  for (const double share : kShares) {
    const auto wanted = static_cast<size_t>(share * static_cast<double>(samples));
    const size_t most = std::min({wanted, kMaxExcesses, largest.size() - std::min<size_t>(largest.size(), 1)});
    if (most < kMinExcesses || most == tried) continue;
    tried = most;
    TailFit fit;
    fit.start_ = largest[largest.size() - most - 1];
    std::vector<double> x;
    for (const float error : largest.last(most)) {
      if (error > fit.start_) x.push_back(error - fit.start_);
    }
    if (x.size() < kMinExcesses) continue;
    const Law law = Estimate(x);
    fit.shape_ = law.shape;
    fit.scale_ = law.scale;
    fit.excesses_ = x.size();
    fit.start_exceedance_ = (static_cast<double>(x.size()) + 1) / (static_cast<double>(samples) + 1);
    fit.p_value_ = TestPValue(AndersonDarling(x, law), law.shape);
    if (fit.p_value_ >= kRejectBelow && law.shape <= kMaxShape) return fit;
    absl::StrAppend(&refused, refused.empty() ? "" : ", ", x.size(), " above ", fit.start_, ": shape ", law.shape,
                    ", p = ", fit.p_value_);
  }
  if (refused.empty()) {
    return absl::FailedPreconditionError(absl::StrCat("no tail can be fitted: it takes ", kMinExcesses,
                                                      " different errors among the largest ", 100 * kLargestShare,
                                                      " %, got ", samples, " errors"));
  }
  return absl::FailedPreconditionError(absl::StrCat("no tail fits (Anderson-Darling p of at least ", kRejectBelow,
                                                    ", shape of at most ", kMaxShape, " expected): ", refused));
}

double TailFit::Exceedance(double x) const {
  return start_exceedance_ * std::exp(LogSurvival(std::max(x - start_, 0.0), {.shape = shape_, .scale = scale_}));
}

double TailFit::Quantile(double probability) const {
  const double log_ratio = std::log(start_exceedance_ / probability);
  if (std::abs(shape_) < kNearZeroShape) return start_ + scale_ * log_ratio;
  return start_ + scale_ * std::expm1(shape_ * log_ratio) / shape_;
}

absl::StatusOr<TailFit> TailFit::FromState(const v1::TailState& state) {
  const auto in = [](double value, double low, double high) { return value >= low && value <= high; };
  constexpr double kLargest = std::numeric_limits<float>::max();
  if (!in(state.start(), 0, kLargest) || !in(state.shape(), -10, kMaxShape) || !(state.scale() > 0) ||
      !in(state.scale(), 0, kLargest) || !in(state.start_exceedance(), 1e-12, 1) || !in(state.p_value(), 0, 1) ||
      state.excesses() < kMinExcesses || state.excesses() > kMaxExcesses) {
    return absl::InvalidArgumentError(absl::StrCat("tail: expected start, scale, a shape of at most ", kMaxShape,
                                                   ", exceedance and p-value in [0, 1], ", kMinExcesses, " to ",
                                                   kMaxExcesses, " excesses, got ", state.ShortDebugString()));
  }
  TailFit fit;
  fit.start_ = state.start();
  fit.shape_ = state.shape();
  fit.scale_ = state.scale();
  fit.excesses_ = state.excesses();
  fit.start_exceedance_ = state.start_exceedance();
  fit.p_value_ = state.p_value();
  return fit;
}

v1::TailState TailFit::ToState() const {
  v1::TailState state;
  state.set_start(start_);
  state.set_shape(shape_);
  state.set_scale(scale_);
  state.set_excesses(excesses_);
  state.set_start_exceedance(start_exceedance_);
  state.set_p_value(p_value_);
  return state;
}

}  // namespace astray
