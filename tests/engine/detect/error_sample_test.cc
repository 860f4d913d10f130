#include "engine/detect/error_sample.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/base/random.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

constexpr ErrorSample::Limits kSmall = {.exact = 3'000, .top = 500};

std::vector<float> Errors(size_t n, uint64_t seed) {
  Random random(seed);
  std::vector<float> errors(n);
  random.FillNormal(errors);
  for (float& error : errors) error *= error;
  return errors;
}

ErrorSample SampleOf(const std::vector<float>& errors, const ErrorSample::Limits& limits = kSmall) {
  ErrorSample sample(limits);
  for (const float error : errors) sample.Add(error);
  sample.Seal();
  return sample;
}

double CountAtLeast(const std::vector<float>& errors, float error) {
  return static_cast<double>(std::count_if(errors.begin(), errors.end(), [&](float e) { return e >= error; }));
}

TEST(ErrorSample, UpToItsLimitItIsExact) {
  const std::vector<float> errors = Errors(kSmall.exact, 1);
  const ErrorSample sample = SampleOf(errors);
  EXPECT_FALSE(sample.has_sketch());
  EXPECT_EQ(sample.rank_error(), 0);
  for (const float error : Errors(200, 2)) EXPECT_EQ(sample.AtLeast(error), CountAtLeast(errors, error));
  std::vector<float> sorted = errors;
  std::sort(sorted.begin(), sorted.end());
  for (const size_t above : {1, 2, 77, 3000}) EXPECT_EQ(sample.Threshold(above), sorted[sorted.size() - above]);
}

TEST(ErrorSample, BeyondItTheLargestStayExactAndTheOthersErrOnTheSafeSide) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    std::vector<float> errors = Errors(60'000, seed);
    if (seed == 2) std::sort(errors.begin(), errors.end());
    if (seed == 3) std::sort(errors.rbegin(), errors.rend());
    const ErrorSample sample = SampleOf(errors);
    ASSERT_TRUE(sample.has_sketch());
    EXPECT_EQ(sample.samples(), errors.size());
    std::vector<float> sorted = errors;
    std::sort(sorted.begin(), sorted.end());
    for (const size_t above : {1, 2, 250, 500}) EXPECT_EQ(sample.Threshold(above), sorted[sorted.size() - above]);
    const double slack = 2.5 * sample.rank_error() * static_cast<double>(sample.samples());
    for (const size_t above : {501, 1000, 6000, 30'000, 59'000}) {
      const float threshold = sample.Threshold(above);
      const double over = CountAtLeast(errors, std::nextafterf(threshold, HUGE_VALF));
      EXPECT_LE(over, static_cast<double>(above) - 1) << "it may flag too few only";
      EXPECT_GE(over, static_cast<double>(std::min<size_t>(above, 501)) - 2) << above;
      EXPECT_GE(over, static_cast<double>(above) - 1 - slack) << above;
    }
    for (const float error : Errors(500, 100 + seed)) {
      const double truth = CountAtLeast(errors, error);
      EXPECT_GE(sample.AtLeast(error), truth);
      EXPECT_LE(sample.AtLeast(error), truth + slack);
      if (error > sorted[sorted.size() - 500]) {
        EXPECT_EQ(sample.AtLeast(error), truth);
      }
    }
  }
}

// An error is above the threshold for a number of errors above exactly where its p-value is at most that share.
TEST(ErrorSample, ThresholdAndPValueAgree) {
  const ErrorSample sample = SampleOf(Errors(60'000, 4));
  std::vector<float> fresh = Errors(2'000, 5);
  for (const uint64_t above : {1, 500, 501, 700, 1200, 6000, 30'000}) {
    const float threshold = sample.Threshold(above);
    fresh.push_back(threshold);
    fresh.push_back(std::nextafterf(threshold, HUGE_VALF));
    for (const float error : fresh) {
      EXPECT_EQ(error > threshold, sample.PValue(error) <= static_cast<double>(above) / 60'001 * (1 + 1e-12)) << above;
    }
  }
}

TEST(ErrorSample, ManyPValuesAreThoseOfTheirErrors) {
  for (const size_t size : {1u, 900u, 60'000u}) {
    const ErrorSample sample = SampleOf(Errors(size, 6));
    std::vector<float> errors = Errors(2'000, 7);
    errors.insert(errors.end(), {0, std::numeric_limits<float>::max()});
    std::vector<double> p_values(errors.size());
    std::vector<uint32_t> ranks;
    sample.PValues(errors, &ranks, p_values);
    for (size_t i = 0; i < errors.size(); ++i) EXPECT_EQ(p_values[i], sample.PValue(errors[i]));
  }
}

TEST(ErrorSample, PartsMergeToTheWhole) {
  std::vector<float> all;
  ErrorSample merged(kSmall);
  // Small into large, large into small, exact and sketched.
  for (const size_t n : {100, 40'000, 10, 2'900, 70'000}) {
    std::vector<float> part = Errors(n, n);
    for (float& error : part) error *= static_cast<float>(n % 7 + 1);
    merged.Merge(SampleOf(part));
    all.insert(all.end(), part.begin(), part.end());
  }
  merged.Seal();
  EXPECT_EQ(merged.samples(), all.size());
  std::sort(all.begin(), all.end());
  for (const size_t above : {1, 10, 500}) EXPECT_EQ(merged.Threshold(above), all[all.size() - above]);
  for (const size_t i : {size_t{1}, all.size() / 3, all.size() / 2, all.size() - 700}) {
    const double truth = CountAtLeast(all, all[i]);
    EXPECT_GE(merged.AtLeast(all[i]), truth);
    EXPECT_LE(merged.AtLeast(all[i]), truth + 2.5 * merged.rank_error() * static_cast<double>(all.size()));
  }
}

TEST(ErrorSample, ItsStateRoundTrips) {
  for (const size_t n : {1, 3'000, 50'000}) {
    const ErrorSample sample = SampleOf(Errors(n, 8));
    const auto again = ErrorSample::FromState(sample.ToState(), kSmall);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->ToState().SerializeAsString(), sample.ToState().SerializeAsString());
    EXPECT_EQ(again->samples(), n);
    for (const float error : Errors(50, 9)) EXPECT_EQ(again->AtLeast(error), sample.AtLeast(error));
  }
}

TEST(ErrorSample, RefusesABadState) {
  const v1::SampleState good = SampleOf(Errors(50'000, 8)).ToState();
  v1::SampleState state = good;
  state.clear_errors();
  EXPECT_THAT(std::string(ErrorSample::FromState(state, kSmall).status().message()), HasSubstr("errors: expected 1"));
  state = good;
  state.mutable_errors()->RemoveLast();
  EXPECT_THAT(std::string(ErrorSample::FromState(state, kSmall).status().message()),
              HasSubstr("errors: expected 500 beside a sketch, got 499"));
  state = good;
  state.mutable_sketch()->mutable_levels(0)->add_values(good.errors(0) * 2);
  EXPECT_THAT(std::string(ErrorSample::FromState(state, kSmall).status().message()),
              HasSubstr("sketch: expected values of at most the smallest of the errors"));
  state = good;
  state.mutable_sketch()->Clear();
  EXPECT_THAT(std::string(ErrorSample::FromState(state, kSmall).status().message()),
              HasSubstr("sketch: expected values, got none"));
  state = good;
  state.set_errors(3, good.errors(9));
  EXPECT_THAT(std::string(ErrorSample::FromState(state, kSmall).status().message()),
              HasSubstr("error 4: expected ascending errors"));
}

}  // namespace
}  // namespace astray
