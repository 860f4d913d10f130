#include "engine/detect/tail_fit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/detect/calibration.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

double Exponential(Random& random) { return -std::log1p(-random.Uniform()); }

double Pareto(Random& random, double shape) { return std::expm1(shape * Exponential(random)) / shape; }

// A kind of errors whose law is known.
struct Law {
  std::string name;
  std::function<double(Random&)> draw;
  std::function<double(double)> exceedance;
};

// Q(k, x) for whole k: the mean of 2 k squared normals is above x / k with this probability.
double GammaExceedance(int k, double x) {
  double term = std::exp(-x), sum = 0;
  for (int i = 0; i < k; ++i) {
    sum += term;
    term *= x / (i + 1);
  }
  return sum;
}

std::vector<Law> Laws() {
  return {
      {"exponential", Exponential, [](double x) { return std::exp(-x); }},
      {"mean of 8 squared normals",
       [](Random& random) {
         double sum = 0;
         for (int i = 0; i < 8; ++i) sum += std::pow(random.Normal(), 2);
         return sum / 8;
       },
       [](double x) { return GammaExceedance(4, 4 * x); }},
      {"squared normal", [](Random& random) { return std::pow(random.Normal(), 2); },
       [](double x) { return std::erfc(std::sqrt(x / 2)); }},
      {"heavy", [](Random& random) { return Pareto(random, 0.3); },
       [](double x) { return std::pow(1 + 0.3 * x, -1 / 0.3); }},
      {"log-normal", [](Random& random) { return std::exp(0.5 * random.Normal()); },
       [](double x) { return std::erfc(std::log(x) / 0.5 / std::sqrt(2.0)) / 2; }},
  };
}

std::vector<float> Draw(const Law& law, size_t n, uint64_t seed) {
  Random random(seed);
  std::vector<float> errors(n);
  for (float& error : errors) error = static_cast<float>(law.draw(random));
  std::sort(errors.begin(), errors.end());
  return errors;
}

TEST(TailFit, EstimatesAParetoLaw) {
  for (const double shape : {-0.3, 0.1, 0.5}) {
    double mean_shape = 0, mean_scale = 0;
    constexpr int kTrials = 50;
    for (int trial = 0; trial < kTrials; ++trial) {
      Random random(static_cast<uint64_t>(trial), 3);
      std::vector<double> x(1000);
      for (double& value : x) value = 7 * Pareto(random, shape);
      std::sort(x.begin(), x.end());
      const TailFit::Law law = TailFit::Estimate(x);
      mean_shape += law.shape / kTrials;
      mean_scale += law.scale / kTrials;
      // Asymptotic standard deviations of the maximum-likelihood estimates.
      EXPECT_NEAR(law.shape, shape, 5 * (1 + std::max(shape, 0.0)) / std::sqrt(1000)) << shape;
    }
    EXPECT_NEAR(mean_shape, shape, 0.02);
    EXPECT_NEAR(mean_scale / 7, 1, 0.02);
  }
}

TEST(TailFit, ItsTestRejectsAsOftenAsItSays) {
  for (const double shape : {-0.15, 0.05, 0.3}) {
    constexpr int kTrials = 1000;
    int below_tenth = 0, below_half = 0;
    for (int trial = 0; trial < kTrials; ++trial) {
      Random random(static_cast<uint64_t>(trial), 4);
      std::vector<double> x(300);
      for (double& value : x) value = Pareto(random, shape);
      std::sort(x.begin(), x.end());
      const TailFit::Law law = TailFit::Estimate(x);
      const double p = TailFit::TestPValue(TailFit::AndersonDarling(x, law), law.shape);
      below_tenth += p < 0.1 ? 1 : 0;
      below_half += p < 0.5 ? 1 : 0;
    }
    EXPECT_NEAR(below_tenth, 100, 40) << shape;  // 4 standard deviations of a count of a thousand
    EXPECT_NEAR(below_half, 500, 64) << shape;
  }
}

TEST(TailFit, QuantileAndExceedanceAreInverse) {
  const auto errors = Draw(Laws()[1], 5'000, 1);
  const auto fit = TailFit::Fit(errors, errors.size());
  ASSERT_TRUE(fit.ok()) << fit.status();
  EXPECT_DOUBLE_EQ(fit->Exceedance(fit->start()), fit->start_exceedance());
  for (const double p : {fit->start_exceedance(), 0.01, 1e-4, 1e-6}) {
    EXPECT_NEAR(fit->Exceedance(fit->Quantile(p)) / p, 1, 1e-9);
  }
}

// A thousandth of what 5,000 errors can rank is asked of their tail: rates of 1e-4 from 5,000 rows. Half of the
// calibrations must come within a factor 2, whatever the law; sampling alone spreads them, see decision 0010.
TEST(TailFit, RealisedRatesAreNearThoseAskedFor) {
  constexpr size_t kRows = 5'000;
  constexpr double kRate = 1e-4;
  constexpr int kTrials = 60;
  for (const Law& law : Laws()) {
    std::vector<double> ratios;
    for (int trial = 0; trial < kTrials; ++trial) {
      const auto calibration = Calibration::Create(Draw(law, kRows, 500 + static_cast<uint64_t>(trial)), kRate, {});
      if (calibration.ok()) ratios.push_back(law.exceedance(calibration->threshold()) / kRate);
    }
    ASSERT_GT(ratios.size(), kTrials * 9 / 10) << law.name;
    std::sort(ratios.begin(), ratios.end());
    const auto within = [&](double factor) {
      const auto count = std::count_if(ratios.begin(), ratios.end(),
                                       [&](double ratio) { return ratio >= 1 / factor && ratio <= factor; });
      return static_cast<double>(count) / static_cast<double>(ratios.size());
    };
    const double median = ratios[ratios.size() / 2];
    EXPECT_GT(median, 0.5) << law.name;
    EXPECT_LT(median, 2) << law.name;
    EXPECT_GT(within(2), 0.4) << law.name;
    EXPECT_GT(within(5), 0.85) << law.name;
    std::printf("%-26s realised / asked: median %.2f, within a factor 2: %.0f %%, 5: %.0f %%\n", law.name.c_str(),
                median, 100 * within(2), 100 * within(5));
  }
}

// Of nine calibrations the one in the middle.
TEST(TailFit, AMillionFreshRowsAreFlaggedAtTheRateAskedFor) {
  for (const Law& law : Laws()) {
    std::vector<double> thresholds;
    for (uint64_t seed = 21; seed < 30; ++seed) {
      const auto calibration = Calibration::Create(Draw(law, 5'000, seed), 1e-4, {});
      ASSERT_TRUE(calibration.ok()) << law.name << calibration.status();
      ASSERT_TRUE(calibration->tail().has_value());
      thresholds.push_back(calibration->threshold());
    }
    std::sort(thresholds.begin(), thresholds.end());
    Random random(22);
    int flagged = 0;
    for (int i = 0; i < 1'000'000; ++i) flagged += law.draw(random) > thresholds[4] ? 1 : 0;
    EXPECT_GE(flagged, 50) << law.name;
    EXPECT_LE(flagged, 200) << law.name;
    std::printf("%-26s flagged %d of a million, 100 asked for\n", law.name.c_str(), flagged);
  }
}

TEST(TailFit, RefusesWhatHasNoSuchTail) {
  Random random(5);
  const auto refusal = [](std::vector<float> errors) {
    std::sort(errors.begin(), errors.end());
    const auto fit = TailFit::Fit(errors, errors.size());
    EXPECT_EQ(fit.status().code(), absl::StatusCode::kFailedPrecondition);
    return std::string(fit.status().message());
  };
  std::vector<float> few(300), discrete(5'000), clusters(5'000), wild(5'000);
  random.FillUniform(few);
  for (float& error : discrete) error = static_cast<float>(std::floor(4 * Exponential(random)));
  // Of a few kinds, each close together.
  for (float& error : clusters) {
    error = static_cast<float>(10 * std::floor(4 * Exponential(random)) + 1 + 0.1 * random.Uniform());
  }
  for (float& error : wild) error = static_cast<float>(Pareto(random, 1.5));
  EXPECT_THAT(refusal(few), HasSubstr("it takes 50 different errors among the largest 15 %, got 300 errors"));
  EXPECT_THAT(refusal(discrete), HasSubstr("no tail fits (Anderson-Darling p of at least 0.1"));
  EXPECT_THAT(refusal(clusters), HasSubstr("no tail fits"));
  EXPECT_THAT(refusal(wild), HasSubstr("shape of at most 0.9 expected"));
  EXPECT_THAT(refusal(std::vector<float>(5'000, 1.0f)), HasSubstr("no tail can be fitted"));
  const auto calibration = Calibration::Create(discrete, 1e-4, {});
  EXPECT_EQ(calibration.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(
      std::string(calibration.status().message()),
      HasSubstr("takes at least 9999 calibration vectors, got 5000 (finest rate: 0.00019996), and no tail fits"));
}

TEST(TailFit, StateRoundTripsAndIsChecked) {
  const auto errors = Draw(Laws()[0], 5'000, 1);
  const auto fit = TailFit::Fit(errors, errors.size());
  ASSERT_TRUE(fit.ok());
  const auto again = TailFit::FromState(fit->ToState());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->Quantile(1e-5), fit->Quantile(1e-5));
  const std::vector<std::function<void(v1::TailState&)>> cases = {
      [](v1::TailState& s) { s.set_start(-1); },          [](v1::TailState& s) { s.set_start(HUGE_VAL); },
      [](v1::TailState& s) { s.set_shape(2); },           [](v1::TailState& s) { s.set_shape(std::nan("")); },
      [](v1::TailState& s) { s.set_scale(0); },           [](v1::TailState& s) { s.set_start_exceedance(0); },
      [](v1::TailState& s) { s.set_excesses(49); },       [](v1::TailState& s) { s.set_p_value(1.5); },
      [](v1::TailState& s) { s.set_scale(std::nan("")); }};
  for (const auto& damage : cases) {
    v1::TailState state = fit->ToState();
    damage(state);
    EXPECT_EQ(TailFit::FromState(state).status().code(), absl::StatusCode::kInvalidArgument) << state.DebugString();
  }
}

}  // namespace
}  // namespace astray
