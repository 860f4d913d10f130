#include "engine/detect/autocorrelation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/random.h"

namespace astray {
namespace {

// x_t = rho x_{t-1} + e_t, from its stationary law; tau = (1 + rho) / (1 - rho).
std::vector<float> AutoRegression(size_t n, double rho, uint64_t seed) {
  Random random(seed);
  std::vector<float> values(n);
  double x = random.Normal() / std::sqrt(1 - rho * rho);
  for (float& value : values) {
    value = static_cast<float>(x + 3);
    x = rho * x + random.Normal();
  }
  return values;
}

TEST(AutocorrelationTime, IsThatOfAnAutoRegression) {
  for (const double rho : {-0.4, 0.0, 0.5, 0.9, 0.97}) {
    constexpr size_t kValues = 60'000;
    const double tau = std::max(1.0, (1 + rho) / (1 - rho));
    const auto values = AutoRegression(kValues, rho, 3);
    const double estimate = AutocorrelationTime(values, std::vector<size_t>{kValues});
    // Of the estimate: sd / tau is about sqrt(2 (2 lags + 1) / n), with a window of some tau lags.
    const double noise = 4 * std::sqrt(2 * (12 * tau + 1) / kValues);
    EXPECT_NEAR(estimate / tau, 1, noise + 0.02) << rho;
  }
}

TEST(AutocorrelationTime, RunsAreNotJoined) {
  // Of 2,000 short runs: joined, neighbours of different runs would look independent.
  constexpr size_t kRun = 40, kRuns = 2'000;
  std::vector<float> values;
  for (uint64_t run = 0; run < kRuns; ++run) {
    const auto part = AutoRegression(kRun, 0.7, 100 + run);
    values.insert(values.end(), part.begin(), part.end());
  }
  const double tau = 1.7 / 0.3;
  EXPECT_NEAR(AutocorrelationTime(values, std::vector<size_t>(kRuns, kRun)) / tau, 1, 0.1);
  AutocorrelationTrace trace;
  for (size_t i = 0; i < kRun; ++i) {  // as they come: interleaved
    for (size_t run = 0; run < kRuns; ++run) trace.Add(std::to_string(run), values[run * kRun + i]);
  }
  EXPECT_NEAR(trace.Time() / tau, 1, 0.1);
}

TEST(AutocorrelationTime, OfRunsThatDifferIsTheirLength) {
  std::vector<float> values(50, 1.0f);
  values.resize(100, 2.0f);
  EXPECT_NEAR(AutocorrelationTime(values, std::vector<size_t>{50, 50}), 50, 1e-9);
}

TEST(AutocorrelationTime, OfNextToNothingIsKnown) {
  EXPECT_EQ(AutocorrelationTime({}, {}), 0);
  EXPECT_EQ(AutocorrelationTime(std::vector<float>{1}, std::vector<size_t>{1}), 0);
  EXPECT_EQ(AutocorrelationTime(std::vector<float>{1, 1, 1}, std::vector<size_t>{3}), 1) << "constant";
  AutocorrelationTrace trace;
  EXPECT_EQ(trace.Time(), 0);
}

}  // namespace
}  // namespace astray
