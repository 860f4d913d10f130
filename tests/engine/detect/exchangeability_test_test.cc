#include "engine/detect/exchangeability_test.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "engine/base/random.h"
#include "engine/detect/error_ranks.h"

namespace astray {
namespace {

// Simple Jumper as its paper writes it: begins with capital 1 and grows over p.
double SimpleJumper(const std::vector<double>& p, size_t first) {
  double capital[3] = {1.0 / 3, 1.0 / 3, 1.0 / 3};
  for (size_t i = first; i < p.size(); ++i) {
    const double all = capital[0] + capital[1] + capital[2];
    for (int e = -1; e <= 1; ++e) {
      double& c = capital[e + 1];
      c = ((1 - ExchangeabilityTest::kJump) * c + ExchangeabilityTest::kJump / 3 * all) * (1 + e * (p[i] - 0.5));
    }
  }
  return capital[0] + capital[1] + capital[2];
}

TEST(ExchangeabilityTest, MatchesItsDefinition) {
  Random random(1);
  std::vector<double> p;
  ExchangeabilityTest test;
  double peak = 0;
  for (int i = 0; i < 400; ++i) {
    p.push_back(i < 200 ? random.Uniform() : std::pow(random.Uniform(), 2));
    test.Step(p.back());
    const double martingale = SimpleJumper(p, 0);
    peak = std::max(peak, std::log10(martingale));
    ASSERT_NEAR(test.martingale_log10(), std::log10(martingale), 1e-9);
    ASSERT_NEAR(test.martingale_peak_log10(), peak, 1e-9);
    double restarts = 0;
    for (size_t first = 0; first < p.size(); ++first) restarts += SimpleJumper(p, first);
    ASSERT_NEAR(test.change() / restarts, 1, 1e-9);
  }
}

// Ville: at most one run in 20 ever reaches 20.
TEST(ExchangeabilityTest, TheMartingaleKeepsItsBound) {
  constexpr int kRuns = 2000;
  constexpr double kLevel = 20;
  Random random(2);
  int reached = 0;
  for (int run = 0; run < kRuns; ++run) {
    ExchangeabilityTest test;
    for (int i = 0; i < 3000; ++i) test.Step(random.Uniform());
    reached += test.martingale_peak_log10() >= std::log10(kLevel) ? 1 : 0;
  }
  std::printf("martingale >= 20 in %.4f of %d stationary runs (bound 0.05)\n", reached / double{kRuns}, kRuns);
  EXPECT_LE(reached, kRuns / kLevel + 3 * std::sqrt(kRuns / kLevel));
  EXPECT_GT(reached, 0);
}

TEST(ExchangeabilityTest, FalseAlarmsOfTheChangeStatisticAreAsFarApartAsSaid) {
  constexpr int kRuns = 400;
  for (const double level : {100.0, 1000.0}) {
    Random random(3);
    double rows = 0;
    int early = 0;
    for (int run = 0; run < kRuns; ++run) {
      ExchangeabilityTest test;
      do test.Step(random.Uniform());
      while (test.change() < level);
      rows += static_cast<double>(test.steps());
      early += static_cast<double>(test.steps()) <= level / 10 ? 1 : 0;
    }
    std::printf("change statistic >= %g: every %.0f rows\n", level, rows / kRuns);
    EXPECT_GT(rows / kRuns, level * (1 - 3 / std::sqrt(kRuns)));
    EXPECT_LE(early, kRuns / 10.0 + 3 * std::sqrt(kRuns / 10.0));  // within N rows: at most N / level
  }
}

// Rows until the change statistic reaches 1e8, after 1000 calibration errors and 5000 rows without a change. `shift` is
// of the errors' logarithm, in its standard deviations; over `ramp` rows.
double MeanDelay(double shift, double ramp) {
  constexpr int kRuns = 40, kBefore = 5000, kMost = 20'000;
  double rows = 0;
  for (int run = 0; run < kRuns; ++run) {
    Random random(100 + static_cast<uint64_t>(run));
    std::vector<float> calibration(1000);
    for (float& error : calibration) error = static_cast<float>(std::exp(0.5 * random.Normal()));
    std::sort(calibration.begin(), calibration.end());
    const auto at_least = [&](float x) {
      return static_cast<double>(calibration.end() - std::lower_bound(calibration.begin(), calibration.end(), x));
    };
    ErrorRanks ranks(at_least, 1, 7);
    ExchangeabilityTest test;
    int i = 0;
    for (; i < kBefore + kMost && test.change() < 1e8; ++i) {
      const double moved = i < kBefore ? 0 : shift * std::min((i - kBefore + 1) / ramp, 1.0);
      test.Step(ranks.Next(static_cast<float>(std::exp(0.5 * (random.Normal() + moved)))));
    }
    rows += i - kBefore;
  }
  return rows / kRuns;
}

TEST(ExchangeabilityTest, FindsShiftsAndSlowDrift) {
  double delays[4];
  int i = 0;
  for (const double shift : {0.5, 1.0, 2.0}) {
    delays[i++] = MeanDelay(shift, 1);
    std::printf("shift of %.1f standard deviations: found after %.0f rows\n", shift, delays[i - 1]);
  }
  delays[3] = MeanDelay(2, 2000);
  std::printf("drift of 2 standard deviations over 2000 rows: found after %.0f rows\n", delays[3]);
  EXPECT_LT(delays[2], 80);
  EXPECT_LT(delays[1], 150);
  EXPECT_LT(delays[0], 600);
  EXPECT_LT(delays[3], 1500);
  EXPECT_LT(delays[2], delays[1]);
  EXPECT_LT(delays[1], delays[0]);
}

TEST(ExchangeabilityTest, StaysFinite) {
  ExchangeabilityTest test;
  for (int i = 0; i < 10'000; ++i) test.Step(0);
  EXPECT_TRUE(std::isfinite(test.change()));
  EXPECT_GT(test.change(), 1e100);
  EXPECT_TRUE(std::isfinite(test.martingale_log10()));
  EXPECT_NEAR(test.mean_p_value(), 0, 1e-9);
}

}  // namespace
}  // namespace astray
