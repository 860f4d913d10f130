#include "engine/detect/exchangeability_test.h"

#include <algorithm>
#include <cmath>

namespace astray {
namespace {

constexpr double kMostCapital = 1e200;  // keeps the sum finite; long past every alarm
constexpr double kMeanWeight = 0.01;

}  // namespace

double ExchangeabilityTest::Bet(double p, Capital* capital) {
  auto& [less, none, more] = *capital;
  const double spread = (less + none + more) * kJump / 3;
  less = ((1 - kJump) * less + spread) * (1 - (p - 0.5));
  none = (1 - kJump) * none + spread;
  more = ((1 - kJump) * more + spread) * (1 + (p - 0.5));
  return less + none + more;
}

void ExchangeabilityTest::Step(double p) {
  ++steps_;
  const double growth = Bet(p, &once_);
  for (double& capital : once_) capital /= growth;
  log10_ += std::log10(growth);
  peak_log10_ = std::max(peak_log10_, log10_);
  for (double& capital : always_) capital += 1.0 / 3;
  change_ = Bet(p, &always_);
  if (change_ > kMostCapital) {
    for (double& capital : always_) capital *= kMostCapital / change_;
    change_ = kMostCapital;
  }
  mean_p_value_ += kMeanWeight * (p - mean_p_value_);
}

}  // namespace astray
