#include "engine/detect/calibration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>

#include "engine/base/random.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

Calibration Create(std::vector<float> errors, double rate) {
  auto calibration = Calibration::Create(std::move(errors), rate, {});
  EXPECT_TRUE(calibration.ok()) << calibration.status();
  return *std::move(calibration);
}

std::vector<float> OneTo(size_t n) {
  std::vector<float> errors(n);
  std::iota(errors.begin(), errors.end(), 1.0f);
  std::reverse(errors.begin(), errors.end());
  return errors;
}

TEST(Calibration, ThresholdIsTheConformalQuantile) {
  // ⌈(n+1)(1-a)⌉-th smallest of 1..n is that rank itself.
  EXPECT_EQ(Create(OneTo(99), 0.01).threshold(), 99);
  EXPECT_EQ(Create(OneTo(99), 0.05).threshold(), 95);
  EXPECT_EQ(Create(OneTo(100), 0.05).threshold(), 96);  // ⌈95.95⌉
  EXPECT_EQ(Create(OneTo(999), 0.001).threshold(), 999);
  EXPECT_EQ(Create(OneTo(9), 0.1).threshold(), 9);
  EXPECT_EQ(Create(OneTo(10), 0.1).threshold(), 10);  // ⌈9.9⌉
  EXPECT_EQ(Create(OneTo(19), 0.1).threshold(), 18);
  EXPECT_EQ(Create(OneTo(1), 0.5).threshold(), 1);
  EXPECT_EQ(Create(OneTo(3), 0.999).threshold(), 1);
}

TEST(Calibration, TheFinestRateIsAcceptedWhateverItsRounding) {
  for (size_t n = 1; n < 2000; ++n) {
    EXPECT_EQ(Create(OneTo(n), 1.0 / static_cast<double>(n + 1)).threshold(), n);
  }
}

TEST(Calibration, RefusesARateThatTheSamplesCannotResolve) {
  EXPECT_EQ(Calibration::Create(OneTo(78), 0.001, {}).status(),
            absl::FailedPreconditionError("a false-positive rate of 0.001 takes at least 999 calibration vectors, got "
                                          "78 (finest rate: 0.0126582)"));
  EXPECT_TRUE(Calibration::Create(OneTo(999), 0.001, {}).ok());
  EXPECT_EQ(Calibration::Create(OneTo(998), 0.001, {}).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(Calibration, ThresholdIsAboveZero) {
  EXPECT_EQ(Create(std::vector<float>(100, 0.0f), 0.05).threshold(), std::numeric_limits<float>::min());
  std::vector<float> errors(100, 0.0f);
  errors[7] = 0.5f;
  errors[3] = 0.25f;
  EXPECT_EQ(Create(errors, 0.05).threshold(), 0.25);
}

TEST(Calibration, PValueCountsErrorsAtLeastAsLarge) {
  const Calibration calibration = Create({1, 2, 2, 2, 5}, 0.5);
  EXPECT_DOUBLE_EQ(calibration.PValue(0), 1);
  EXPECT_DOUBLE_EQ(calibration.PValue(1), 1);
  EXPECT_DOUBLE_EQ(calibration.PValue(2), 5.0 / 6);
  EXPECT_DOUBLE_EQ(calibration.PValue(2.5f), 2.0 / 6);
  EXPECT_DOUBLE_EQ(calibration.PValue(5), 2.0 / 6);
  EXPECT_DOUBLE_EQ(calibration.PValue(6), 1.0 / 6);
  EXPECT_DOUBLE_EQ(calibration.PValue(std::numeric_limits<float>::max()), calibration.resolution());
}

TEST(Calibration, PValueMatchesCounting) {
  Random random(4);
  std::vector<float> errors(257);
  for (float& error : errors) error = static_cast<float>(random.UniformInt(40)) / 8;
  const Calibration calibration = Create(errors, 0.1);
  for (float error = 0; error < 6; error += 0.0625f) {
    const auto count = std::count_if(errors.begin(), errors.end(), [&](float e) { return e >= error; });
    EXPECT_DOUBLE_EQ(calibration.PValue(error), (1.0 + static_cast<double>(count)) / 258);
  }
}

// An error is above the threshold exactly where its p-value is at most the rate: two ways to one verdict.
TEST(Calibration, ThresholdAndPValueAgree) {
  Random random(5);
  std::vector<float> errors(499);
  random.FillUniform(errors);
  for (const double rate : {0.002, 0.01, 0.05, 0.37}) {
    const Calibration calibration = Create(errors, rate);
    for (const float error : errors) {
      for (const float fresh : {error, std::nextafterf(error, 2)}) {
        EXPECT_EQ(fresh > calibration.threshold(), calibration.PValue(fresh) <= rate + 1e-9);
      }
    }
  }
}

// Vovk 2012: over calibrations of n exchangeable errors without ties, the rate at which fresh ones are flagged is
// Beta(l, n + 1 - l), l = ⌊(n+1)a⌋: its mean l / (n+1) lies in (a - 1/(n+1), a].
TEST(Calibration, FalsePositiveRateKeepsItsGuarantee) {
  constexpr size_t kSplits = 200;
  constexpr size_t kFresh = 2000;
  struct Case {
    size_t n;
    double rate;
  };
  for (const Case& c : {Case{99, 0.01}, Case{150, 0.05}, Case{500, 0.013}}) {
    double sum = 0;
    for (size_t split = 0; split < kSplits; ++split) {
      Random random(1000 + split, c.n);
      std::vector<float> errors(c.n);
      // Squared normals: a heavy tail, as errors have. The guarantee does not depend on it.
      random.FillNormal(errors);
      for (float& error : errors) error *= error;
      const Calibration calibration = Create(errors, c.rate);
      size_t flagged = 0;
      for (size_t i = 0; i < kFresh; ++i) {
        const double normal = random.Normal();
        flagged += normal * normal > calibration.threshold() ? 1 : 0;
      }
      sum += static_cast<double>(flagged) / kFresh;
    }
    const auto n1 = static_cast<double>(c.n + 1);
    const double l = std::floor(n1 * c.rate + 1e-9);
    const double mean = l / n1;
    // Variance of the Beta-binomial ratio, over kSplits independent splits.
    const double beta_variance = mean * (1 - mean) / (n1 + 1);
    const double variance = (beta_variance + (mean * (1 - mean) - beta_variance) / kFresh) / kSplits;
    const double noise = 3 * std::sqrt(variance);
    EXPECT_NEAR(sum / kSplits, mean, noise) << "n = " << c.n;
    EXPECT_LE(sum / kSplits, c.rate + noise) << "n = " << c.n;
    EXPECT_GE(sum / kSplits, c.rate - 1 / n1 - noise) << "n = " << c.n;
  }
}

TEST(Calibration, RefusesWhatIsNoError) {
  const auto message = [](std::vector<float> errors, double rate) {
    const auto status = Calibration::Create(std::move(errors), rate, {}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(message({}, 0.1), HasSubstr("errors: expected 1 to 10000000 of them, got 0"));
  EXPECT_EQ(message({1, -1}, 0.5), "error 1: expected a finite number of at least 0, got -1");
  EXPECT_EQ(message({std::nanf("")}, 0.5), "error 0: expected a finite number of at least 0, got nan");
  EXPECT_EQ(message({HUGE_VALF}, 0.5), "error 0: expected a finite number of at least 0, got inf");
  for (const double rate : {0.0, 1.0, -0.5, 2.0, std::nan(""), HUGE_VAL}) {
    EXPECT_THAT(message({1, 2, 3}, rate), HasSubstr("false_positive_rate: expected a number above 0 and below 1"));
  }
}

TEST(Calibration, StateRoundTrips) {
  const std::string sha256(64, 'a');
  const auto calibration =
      Calibration::Create(OneTo(99), 0.05, {.epoch = 7, .created_unix_seconds = 1700000000, .artifact_sha256 = sha256});
  ASSERT_TRUE(calibration.ok());
  const auto again = Calibration::FromState(calibration->ToState());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->threshold(), calibration->threshold());
  EXPECT_EQ(again->false_positive_rate(), 0.05);
  EXPECT_EQ(again->epoch(), 7u);
  EXPECT_EQ(again->origin().created_unix_seconds, 1700000000);
  EXPECT_EQ(again->origin().artifact_sha256, sha256);
  EXPECT_EQ(again->samples(), 99u);
}

TEST(Calibration, RefusesABadState) {
  const v1::CalibrationState good = Create(OneTo(99), 0.05).ToState();
  const std::vector<std::pair<std::function<void(v1::CalibrationState&)>, std::string>> cases = {
      {[](v1::CalibrationState& s) { s.clear_errors(); }, "errors: expected 1"},
      {[](v1::CalibrationState& s) { s.set_errors(0, 50); }, "error 1: expected ascending errors, got 2 after 50"},
      {[](v1::CalibrationState& s) { s.set_errors(98, HUGE_VALF); }, "error 98: expected a finite"},
      {[](v1::CalibrationState& s) { s.set_errors(50, std::nanf("")); }, "error 50: expected a finite"},
      {[](v1::CalibrationState& s) { s.set_errors(0, -1); }, "error 0: expected a finite"},
      {[](v1::CalibrationState& s) { s.clear_false_positive_rate(); }, "false_positive_rate"},
      {[](v1::CalibrationState& s) { s.set_epoch(0); }, "epoch: expected at least 1, got 0"},
      {[](v1::CalibrationState& s) { s.set_created_unix_seconds(-1); }, "created_unix_seconds"},
      {[](v1::CalibrationState& s) { s.set_artifact_sha256("ABC"); }, "artifact_sha256"},
  };
  for (const auto& [damage, message] : cases) {
    v1::CalibrationState state = good;
    damage(state);
    const auto calibration = Calibration::FromState(state);
    EXPECT_EQ(calibration.status().code(), absl::StatusCode::kInvalidArgument) << message;
    EXPECT_THAT(std::string(calibration.status().message()), HasSubstr(message));
  }
}

}  // namespace
}  // namespace astray
