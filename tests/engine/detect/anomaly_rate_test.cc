#include "engine/detect/anomaly_rate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "engine/base/random.h"
#include "engine/detect/calibration.h"

namespace astray {
namespace {

// A calibration of n uniform errors at this rate, and the AnomalyRate that belongs to it.
struct Calibrated {
  Calibrated(size_t n, double rate, Random& random) : Calibrated(Draw(n, random), rate) {}
  Calibrated(const std::vector<float>& errors, double rate)
      : calibration(*Calibration::Create(errors, rate, {})), test(Test(calibration, errors)) {}

  static std::vector<float> Draw(size_t n, Random& random) {
    std::vector<float> errors(n);
    for (float& error : errors) error = static_cast<float>(random.Uniform());
    return errors;
  }
  static AnomalyRate Test(const Calibration& calibration, const std::vector<float>& errors) {
    const auto above =
        std::count_if(errors.begin(), errors.end(), [&](float error) { return error > calibration.threshold(); });
    return {static_cast<double>(errors.size()), static_cast<double>(above)};
  }
  void Step(double error) { test.Step(error > calibration.threshold()); }

  Calibration calibration;
  AnomalyRate test;
};

TEST(AnomalyRate, MatchesItsDefinition) {
  constexpr double kRows = 99, kAbove = 4;
  Random random(1);
  AnomalyRate test(kRows, kAbove);
  std::vector<bool> seen;
  for (int i = 0; i < 300; ++i) {
    seen.push_back(random.Uniform() < 0.2);
    test.Step(seen.back());
    double expected = 0;
    for (size_t first = 0; first < seen.size(); ++first) {
      for (const double raised : {2.0, 4.0, 8.0, 16.0}) {
        double capital = 0.25;
        double anomalous = static_cast<double>(std::count(seen.begin(), seen.begin() + static_cast<long>(first), true));
        for (size_t j = first; j < seen.size(); ++j) {
          const double q = (kAbove + 1 + anomalous) / (kRows + 1 + static_cast<double>(j));
          const double r = std::max(q, std::min(raised * q, 0.5));
          capital *= seen[j] ? r / q : (1 - r) / (1 - q);
          anomalous += seen[j] ? 1 : 0;
        }
        expected += capital;
      }
    }
    ASSERT_NEAR(test.change() / expected, 1, 1e-9) << i;
  }
}

// However lucky or unlucky the calibration was.
TEST(AnomalyRate, FalseAlarmsAreAsFarApartAsSaid) {
  constexpr int kRuns = 400;
  constexpr double kLevel = 300;
  for (const size_t n : {100, 1000}) {
    Random random(2);
    double rows = 0;
    for (int run = 0; run < kRuns; ++run) {
      Calibrated c(n, 0.01, random);
      int i = 0;
      for (; i < 30'000 && c.test.change() < kLevel; ++i) c.Step(random.Uniform());
      rows += i;
    }
    std::printf("%zu calibration rows: change statistic >= %g every %.0f rows\n", n, kLevel, rows / kRuns);
    EXPECT_GT(rows / kRuns, kLevel * (1 - 3 / std::sqrt(kRuns)));
  }
}

TEST(AnomalyRate, FindsARaisedRate) {
  constexpr int kRuns = 40;
  for (const double raised : {0.05, 0.2}) {
    double rows = 0;
    for (int run = 0; run < kRuns; ++run) {
      Random random(10 + static_cast<uint64_t>(run));
      Calibrated c(1000, 0.01, random);
      for (int i = 0; i < 3000; ++i) c.Step(random.Uniform());
      int i = 0;
      for (; i < 20'000 && c.test.change() < 1e8; ++i) {
        c.Step(random.Uniform() < raised ? 2.0 : 0.0);
      }
      rows += i;
    }
    std::printf("anomalous rows from 1 %% to %.0f %%: found after %.0f rows\n", 100 * raised, rows / kRuns);
    EXPECT_LT(rows / kRuns, raised < 0.1 ? 800 : 100);
  }
}

TEST(AnomalyRate, RecentIsAnExponentialAverageHoweverRowsAreCut) {
  AnomalyRate one(100, 1), many(100, 1);
  EXPECT_EQ(one.recent(), 0);
  one.Count(3000, 30);
  for (int i = 0; i < 300; ++i) many.Count(10, i % 10 == 0 ? 1 : 0);
  EXPECT_NEAR(one.recent(), 0.01, 1e-12);
  EXPECT_NEAR(many.recent(), 0.01, 1e-3);
  many.Count(1000, 1000);
  // 1 - 1/e of the weight, of 1 - e^-4 in all.
  EXPECT_NEAR(many.recent(), 0.01 + 0.99 * (1 - std::exp(-1)) / (1 - std::exp(-4)), 2e-3);
  many.Count(0, 0);
  EXPECT_TRUE(std::isfinite(many.recent()));
}

TEST(AnomalyRate, StaysFiniteWhereEveryRowIsAnomalous) {
  AnomalyRate test(10, 0);
  for (int i = 0; i < 5000; ++i) test.Step(true);
  EXPECT_TRUE(std::isfinite(test.change()));
}

}  // namespace
}  // namespace astray
