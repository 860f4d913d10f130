// What split-conformal calibration promises, as laws: over many calibrations of n exchangeable errors without ties the
// rate at which fresh vectors are flagged is Beta(l, n + 1 - l), l = ⌊(n+1)a⌋ (Vovk 2012), and a fresh p-value is
// uniform on 1 / (n+1), ..., 1. The same within each segment and level of missing values. Finer rates are a tail's.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/detect/calibration.h"

namespace astray {
namespace {

constexpr int kCalibrations = 1'000;

double SquaredNormal(Random& random) { return std::pow(random.Normal(), 2); }
double SquaredNormalExceedance(double x) { return std::erfc(std::sqrt(x / 2)); }

double LogChoose(double n, double k) { return std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1); }

// Beta(l, n + 1 - l) for whole numbers: the chance of l or more successes of n.
double BetaCdf(double x, int l, int n) {
  double sum = 0;
  for (int k = l; k <= n; ++k) sum += std::exp(LogChoose(n, k) + k * std::log(x) + (n - k) * std::log1p(-x));
  return sum;
}

// The p-value of Kolmogorov and Smirnov's test that numbers are uniform on [0, 1] (Stephens 1970).
double UniformPValue(std::vector<double> numbers) {
  std::sort(numbers.begin(), numbers.end());
  const auto n = static_cast<double>(numbers.size());
  double distance = 0;
  for (size_t i = 0; i < numbers.size(); ++i) {
    const auto place = static_cast<double>(i);
    distance = std::max({distance, numbers[i] - place / n, (place + 1) / n - numbers[i]});
  }
  const double t = distance * (std::sqrt(n) + 0.12 + 0.11 / std::sqrt(n));
  double p = 0;
  for (int k = 1; k <= 100; ++k) p += 2 * (k % 2 == 1 ? 1 : -1) * std::exp(-2.0 * k * k * t * t);
  return std::clamp(p, 0.0, 1.0);
}

struct Segment {
  std::string name;
  double factor;  // of its errors
  int vectors;
};

TEST(CalibrationLaw, TheRateOfFalseAlarmsIsBeta) {
  constexpr int kVectors = 400;
  for (const double rate : {0.01, 0.05, 0.2}) {
    const int l = static_cast<int>((kVectors + 1) * rate);
    std::vector<double> places;
    for (uint64_t i = 0; i < kCalibrations; ++i) {
      Random random(i, 100);
      std::vector<float> errors(kVectors);
      for (float& error : errors) error = static_cast<float>(SquaredNormal(random));
      const auto calibration = Calibration::Create(errors, rate, {});
      ASSERT_TRUE(calibration.ok());
      places.push_back(BetaCdf(SquaredNormalExceedance(calibration->threshold()), l, kVectors));
    }
    EXPECT_GT(UniformPValue(places), 0.01) << rate;
  }
}

// Counted on fresh vectors: then the number flagged of m is beta-binomial.
TEST(CalibrationLaw, TheCountOfFalseAlarmsIsBetaBinomial) {
  constexpr int kVectors = 199, kFresh = 2'000, kAbove = 10;
  // P(k flagged) = C(m, k) B(k + l, m - k + n + 1 - l) / B(l, n + 1 - l)
  std::vector<double> below(kFresh + 2, 0);
  const auto log_beta = [](double a, double b) { return std::lgamma(a) + std::lgamma(b) - std::lgamma(a + b); };
  for (int k = 0; k <= kFresh; ++k) {
    below[static_cast<size_t>(k) + 1] =
        below[static_cast<size_t>(k)] +
        std::exp(LogChoose(kFresh, k) + log_beta(k + kAbove, kFresh - k + kVectors + 1 - kAbove) -
                 log_beta(kAbove, kVectors + 1 - kAbove));
  }
  std::vector<double> places;
  for (uint64_t i = 0; i < kCalibrations; ++i) {
    Random random(i, 12);
    std::vector<float> errors(kVectors);
    for (float& error : errors) error = static_cast<float>(SquaredNormal(random));
    const auto calibration = Calibration::Create(errors, 0.05, {});
    ASSERT_TRUE(calibration.ok());
    size_t flagged = 0;
    for (int j = 0; j < kFresh; ++j) flagged += SquaredNormal(random) > calibration->threshold() ? 1 : 0;
    // A whole number has a stretch of [0, 1]; anywhere in it, by chance.
    places.push_back(below[flagged] + random.Uniform() * (below[flagged + 1] - below[flagged]));
  }
  EXPECT_GT(UniformPValue(places), 0.01);
}

TEST(CalibrationLaw, HoldsInEachSegmentAndLevelOfMissingValues) {
  // Where one threshold for all would flag nothing of the first and a lot of the second.
  const std::vector<Segment> segments = {{"idle", 0.01, 250}, {"load", 30, 250}, {"peak", 5, 99}};
  constexpr double kRate = 0.02;
  constexpr uint8_t kLevel = 2;
  constexpr double kLevelFactor = 2;
  constexpr int kLevelVectors = 149;
  std::vector<std::vector<double>> places(segments.size() + 1);
  std::vector<int> p_at_most(20, 0);
  int p_values = 0;
  for (uint64_t i = 0; i < kCalibrations; ++i) {
    Random random(i, 13);
    CalibrationSamples samples;
    for (const Segment& segment : segments) {
      for (int j = 0; j < segment.vectors; ++j) {
        ASSERT_TRUE(samples.Add(static_cast<float>(segment.factor * SquaredNormal(random)), segment.name, 0).ok());
      }
    }
    for (int j = 0; j < kLevelVectors; ++j) {
      ASSERT_TRUE(samples.Add(static_cast<float>(kLevelFactor * SquaredNormal(random)), "", kLevel).ok());
    }
    for (int j = 0; j < 20; ++j) ASSERT_TRUE(samples.Add(1, "rare", 0).ok());
    const auto calibration = Calibration::Create(samples, kRate, {});
    ASSERT_TRUE(calibration.ok()) << calibration.status();
    for (size_t s = 0; s < segments.size(); ++s) {
      const uint32_t index = calibration->SegmentIndex(segments[s].name);
      ASSERT_GT(index, 0u);
      const int n = segments[s].vectors;
      const double threshold = calibration->Judge(1, index, 0).threshold;
      places[s].push_back(
          BetaCdf(SquaredNormalExceedance(threshold / segments[s].factor), static_cast<int>((n + 1) * kRate), n));
      const double p =
          calibration->Judge(static_cast<float>(segments[s].factor * SquaredNormal(random)), index, 0).p_value;
      ++p_values;
      for (size_t t = 0; t < p_at_most.size(); ++t) p_at_most[t] += p <= static_cast<double>(t + 1) / 20 ? 1 : 0;
    }
    const double threshold = calibration->Judge(1, 0, kLevel).threshold;
    places.back().push_back(BetaCdf(SquaredNormalExceedance(threshold / kLevelFactor),
                                    static_cast<int>((kLevelVectors + 1) * kRate), kLevelVectors));
    // Too few vectors, a name that nobody has seen, and none: all rows'.
    for (const char* name : {"rare", "other", ""}) {
      const auto judged = calibration->Judge(3, calibration->SegmentIndex(name), 0);
      EXPECT_EQ(judged.threshold, calibration->threshold());
      EXPECT_EQ(judged.p_value, calibration->PValue(3));
    }
  }
  for (size_t s = 0; s < places.size(); ++s) EXPECT_GT(UniformPValue(places[s]), 0.01) << s;
  for (size_t t = 0; t < p_at_most.size(); ++t) {
    const double level = static_cast<double>(t + 1) / 20;
    const double noise = 4 * std::sqrt(level * (1 - level) / p_values);
    EXPECT_LE(p_at_most[t], (level + noise) * p_values) << level;
    EXPECT_GE(p_at_most[t], (level - noise - 0.01) * p_values) << "within 1 / (n + 1) of uniform";
  }
}

TEST(CalibrationLaw, PValuesAreSuperUniform) {
  constexpr int kVectors = 99;
  for (const bool ties : {false, true}) {
    std::vector<int> at_most(kVectors + 1, 0);
    constexpr int kTrials = 20'000;
    for (uint64_t i = 0; i < kTrials; ++i) {
      Random random(i, 14);
      const auto draw = [&] {
        const double error = SquaredNormal(random);
        return static_cast<float>(ties ? std::floor(4 * error) / 4 : error);
      };
      std::vector<float> errors(kVectors);
      for (float& error : errors) error = draw();
      const auto calibration = Calibration::Create(errors, 0.05, {});
      ASSERT_TRUE(calibration.ok());
      const double p = calibration->PValue(draw());
      for (size_t k = 0; k < at_most.size(); ++k) at_most[k] += p <= static_cast<double>(k + 1) / 100 + 1e-9 ? 1 : 0;
    }
    for (size_t k = 0; k < at_most.size(); ++k) {
      const double level = static_cast<double>(k + 1) / 100;
      const double noise = 4.5 * std::sqrt(level * (1 - level) / kTrials);
      EXPECT_LE(at_most[k], (level + noise) * kTrials) << level;
      if (!ties) {
        EXPECT_GE(at_most[k], (level - noise) * kTrials) << level;
      }
    }
  }
}

TEST(CalibrationLaw, FromASketchTheRateIsNeverMoreThanAskedFor) {
  // What errors are left of a promise is chance: n is large.
  constexpr int kVectors = 400'000;
  Random random(15);
  CalibrationSamples samples;
  for (int i = 0; i < kVectors; ++i) {
    ASSERT_TRUE(samples.Add(static_cast<float>(SquaredNormal(random)), i % 2 == 0 ? "even" : "odd", 0).ok());
  }
  for (const double rate : {0.001, 0.01, 0.1, 0.5}) {
    const auto calibration = Calibration::Create(samples, rate, {});
    ASSERT_TRUE(calibration.ok());
    for (const char* name : {"", "even", "odd"}) {
      const uint32_t segment = calibration->SegmentIndex(name);
      const int n = segment > 0 ? kVectors / 2 : kVectors;
      const double rank_error =
          segment > 0 ? calibration->segments()[segment - 1].sample.rank_error() : calibration->rank_error();
      EXPECT_GT(rank_error, 0);
      EXPECT_LT(rank_error, segment > 0 ? 0.01 : 0.001);
      const double realised = SquaredNormalExceedance(calibration->Judge(1, segment, 0).threshold);
      const double noise = 4 * std::sqrt(rate * (1 - rate) / n);
      EXPECT_LE(realised, rate + noise) << name << rate;
      EXPECT_GE(realised, rate - noise - 2.5 * rank_error) << name << rate;
    }
  }
}

// Rates below 1 / (n + 1) of segments of other laws and sizes of error, each of which is 5 or 0.02 times the others'.
// A calibration spreads as decision 0010 says, so of 25 the one in the middle is asked for a factor 2.
TEST(CalibrationLaw, ATailKeepsTheRateOfItsSegment) {
  struct TailLaw {
    std::string name;
    double factor;
    int vectors;
    double (*draw)(Random&);
    double (*exceedance)(double);
  };
  const std::vector<TailLaw> laws = {
      {"exponential", 1, 4'000, [](Random& random) { return -std::log1p(-random.Uniform()); },
       [](double x) { return std::exp(-x); }},
      {"heavy", 5, 3'000, [](Random& random) { return std::expm1(-0.3 * std::log1p(-random.Uniform())) / 0.3; },
       [](double x) { return std::pow(1 + 0.3 * x, -1 / 0.3); }},
      {"log-normal", 0.02, 5'000, [](Random& random) { return std::exp(0.5 * random.Normal()); },
       [](double x) { return std::erfc(std::log(x) / 0.5 / std::sqrt(2.0)) / 2; }},
      {"squared normal", 0.1, 5'000, SquaredNormal, SquaredNormalExceedance},
  };
  constexpr double kRate = 1e-4;
  constexpr uint64_t kTrials = 25;
  constexpr int kFresh = 1'000'000;
  std::vector<std::vector<double>> thresholds(laws.size());
  for (uint64_t i = 0; i < kTrials; ++i) {
    Random random(i, 16);
    CalibrationSamples samples;
    for (const TailLaw& law : laws) {
      for (int j = 0; j < law.vectors; ++j) {
        ASSERT_TRUE(samples.Add(static_cast<float>(law.factor * law.draw(random)), law.name, 0).ok());
      }
    }
    const auto calibration = Calibration::Create(samples, kRate, {});
    ASSERT_TRUE(calibration.ok()) << calibration.status();
    for (size_t s = 0; s < laws.size(); ++s) {
      const auto& segment = calibration->segments()[calibration->SegmentIndex(laws[s].name) - 1];
      ASSERT_FALSE(Calibration::Resolves(segment.sample.samples(), kRate));
      // A tenth of the tails that are right is rejected at each start; a segment without one has all rows' threshold.
      if (segment.own) thresholds[s].push_back(segment.threshold);
    }
  }
  for (size_t s = 0; s < laws.size(); ++s) {
    const TailLaw& law = laws[s];
    ASSERT_GE(thresholds[s].size(), kTrials - 2) << law.name;
    std::sort(thresholds[s].begin(), thresholds[s].end());
    const double threshold = thresholds[s][thresholds[s].size() / 2];
    Random random(s, 17);
    int flagged = 0;
    for (int i = 0; i < kFresh; ++i) flagged += law.factor * law.draw(random) > threshold ? 1 : 0;
    EXPECT_GE(flagged, kRate * kFresh / 2) << law.name;
    EXPECT_LE(flagged, kRate * kFresh * 2) << law.name;
    EXPECT_NEAR(flagged, law.exceedance(threshold / law.factor) * kFresh, 5 * std::sqrt(flagged)) << law.name;
    std::printf("%-16s flagged %d of a million, 100 asked for\n", law.name.c_str(), flagged);
  }
}

}  // namespace
}  // namespace astray
