#include "engine/detect/score_kind.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>

#include "engine/base/random.h"

namespace astray {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::ScoreScale MeanSquared() {
  v1::ScoreScale scale;
  scale.set_kind(v1::MEAN_SQUARED);
  return scale;
}

v1::ScoreScale Normalised(const std::vector<float>& variance) {
  v1::ScoreScale scale;
  scale.set_kind(v1::FEATURE_NORMALISED);
  scale.mutable_residual_variance()->Add(variance.begin(), variance.end());
  return scale;
}

TEST(VectorError, MeanSquaredIsTheMeanOverObservedValues) {
  const std::vector<float> input = {0, 0, 0, 100};
  const std::vector<float> output = {1, -2, 3, 0};
  EXPECT_FLOAT_EQ(VectorError(MeanSquared(), input, output, std::vector<float>{1, 1, 1, 0}, {}), 14.0f / 3);
  EXPECT_FLOAT_EQ(VectorError(MeanSquared(), input, output, std::vector<float>{1, 0, 0, 1}, {}), 10001.0f / 2);
}

TEST(VectorError, NormalisedDividesByEachPositionsOwnMean) {
  const std::vector<float> input = {0, 0, 0};
  const std::vector<float> output = {2, 3, 5};
  const v1::ScoreScale scale = Normalised({4, 1, 0.25f});
  EXPECT_FLOAT_EQ(VectorError(scale, input, output, std::vector<float>{1, 1, 1}, {}), (1 + 9 + 100) / 3.0f);
  EXPECT_FLOAT_EQ(VectorError(scale, input, output, std::vector<float>{1, 0, 1}, {}), (1 + 100) / 2.0f);
}

TEST(VectorError, NothingObservedGivesNaN) {
  const std::vector<float> zeros(3);
  EXPECT_TRUE(std::isnan(VectorError(MeanSquared(), zeros, zeros, zeros, {})));
}

TEST(VectorError, PartsAddUpToTheErrorFeatureByFeature) {
  // Two features, three rows of window.
  const std::vector<float> input = {0, 0, 0, 0, 0, 0};
  const std::vector<float> output = {1, 2, 3, 4, 5, 6};
  const std::vector<float> observed = {1, 1, 1, 0, 1, 1};
  std::vector<float> parts(2);
  EXPECT_FLOAT_EQ(VectorError(MeanSquared(), input, output, observed, parts), 75.0f / 5);
  EXPECT_THAT(parts, ElementsAre((1 + 9 + 25) / 5.0f, (4 + 36) / 5.0f));
}

TEST(VectorError, MatchesDoublePrecisionForEveryWidth) {
  Random random(6);
  for (size_t width = 1; width < 70; ++width) {
    std::vector<float> input(width);
    std::vector<float> output(width);
    std::vector<float> observed(width);
    std::vector<float> variance(width);
    random.FillNormal(input);
    random.FillNormal(output);
    double sum = 0;
    double count = 0;
    for (size_t j = 0; j < width; ++j) {
      observed[j] = j == 0 || random.Uniform() < 0.7 ? 1.0f : 0.0f;
      variance[j] = static_cast<float>(0.1 + random.Uniform());
      const double residual = static_cast<double>(output[j]) - input[j];
      sum += observed[j] * residual * residual / variance[j];
      count += observed[j];
    }
    const v1::ScoreScale scale = Normalised(variance);
    std::vector<float> parts(1);
    const float error = VectorError(scale, input, output, observed, {});
    EXPECT_FLOAT_EQ(error, static_cast<float>(sum / count));
    EXPECT_EQ(VectorError(scale, input, output, observed, parts), error) << "with and without parts";
    EXPECT_NEAR(parts[0], error, 1e-5 * error);
  }
}

TEST(VectorError, StaysFiniteWhereTheNetworkOverflowed) {
  const std::vector<float> input = {0, 0};
  const std::vector<float> observed = {1, 1};
  constexpr float kMax = std::numeric_limits<float>::max();
  for (const float bad : {HUGE_VALF, -HUGE_VALF, std::nanf(""), kMax}) {
    std::vector<float> parts(2);
    EXPECT_EQ(VectorError(MeanSquared(), input, std::vector<float>{bad, 1}, observed, parts), kMax);
    EXPECT_EQ(parts[0], kMax);
    EXPECT_FLOAT_EQ(parts[1], 0.5f);
  }
}

TEST(VectorError, WindowNormalisedTakesTheLargerOfShiftAndShape) {
  // Two features over a window of two: the first shifted by 2, the second swinging by ±3 around its expectation.
  const std::vector<float> input = {2, 3, 2, -3}, output = {0, 0, 0, 0};
  v1::ScoreScale scale;
  scale.set_kind(v1::WINDOW_NORMALISED);
  for (const float variance : {1.0f, 1.0f, 1.0f, 1.0f}) scale.add_residual_variance(variance);
  for (const float variance : {0.5f, 0.5f}) scale.add_level_variance(variance);
  std::vector<float> parts(2);
  const float error = VectorError(scale, input, output, std::vector<float>{1, 1, 1, 1}, parts);
  EXPECT_FLOAT_EQ(parts[0], (2.0f * 2 / 0.5f) / 2);  // the shift: its mean residual squared over 0.5 is 8, above 4
  EXPECT_FLOAT_EQ(parts[1], (3.0f * 3) / 2);         // the swing: its mean residual is 0
  EXPECT_FLOAT_EQ(error, parts[0] + parts[1]);
  // Without the second feature only the first counts; without any there is no error.
  EXPECT_FLOAT_EQ(VectorError(scale, input, output, std::vector<float>{1, 0, 1, 0}, {}), 8);
  EXPECT_TRUE(std::isnan(VectorError(scale, input, output, std::vector<float>(4), {})));
}

TEST(VectorError, WindowNormalisedEqualsFeatureNormalisedOnSingleRows) {
  const std::vector<float> input = {1, 2, 3}, output = {0.5f, 4, 2.9f}, observed = {1, 1, 1};
  const auto window = FitScoreScale(v1::WINDOW_NORMALISED, 3, 3, input, output, observed);
  const auto feature = FitScoreScale(v1::FEATURE_NORMALISED, 3, 3, input, output, observed);
  ASSERT_TRUE(window.ok() && feature.ok());
  const std::vector<float> other = {0, 1, 9};
  EXPECT_FLOAT_EQ(VectorError(*window, input, other, observed, {}), VectorError(*feature, input, other, observed, {}));
}

TEST(FitScoreScale, FitsTheLevelOfAWindowsFeatures) {
  // One feature, windows of two: mean residuals 2 and -1, so the level's mean square is 2.5.
  const std::vector<float> input = {0, 0, 0, 0}, output = {1, 3, 0, -2}, observed = {1, 1, 1, 1};
  const auto scale = FitScoreScale(v1::WINDOW_NORMALISED, 1, 2, input, output, observed);
  ASSERT_TRUE(scale.ok()) << scale.status();
  EXPECT_FLOAT_EQ(scale->level_variance(0), 2.5f);
  EXPECT_FLOAT_EQ(scale->residual_variance(0), 0.5f);
  EXPECT_FLOAT_EQ(scale->residual_variance(1), 6.5f);
  EXPECT_TRUE(CheckScoreScale(*scale, 1, 2).ok());
  EXPECT_THAT(std::string(CheckScoreScale(*scale, 2, 2).message()),
              HasSubstr("level_variance: expected 2 values, got 1"));
}

TEST(FitScoreScale, IsTheMeanSquaredResidualOfEachPosition) {
  const std::vector<float> input = {0, 0, 0, 0, 0, 0};
  const std::vector<float> output = {1, 10, 3, 20, 2, 500};
  const std::vector<float> observed = {1, 1, 1, 1, 1, 0};
  const auto scale = FitScoreScale(v1::FEATURE_NORMALISED, 2, 2, input, output, observed);
  ASSERT_TRUE(scale.ok()) << scale.status();
  EXPECT_FLOAT_EQ(scale->residual_variance(0), 14.0f / 3);
  EXPECT_FLOAT_EQ(scale->residual_variance(1), 250);
  EXPECT_TRUE(CheckScoreScale(*scale, 2, 2).ok());
}

// Held-out vectors then have an error of 1 on average, and every position the same part in it.
TEST(FitScoreScale, MakesTheHeldOutMeanOne) {
  Random random(7);
  constexpr size_t kWidth = 5;
  std::vector<float> input(kWidth * 400);
  std::vector<float> output(input.size());
  random.FillNormal(input);
  random.FillNormal(output);
  for (size_t i = 0; i < input.size(); ++i) {
    output[i] = input[i] + output[i] * (0.1f + static_cast<float>(i % kWidth));
  }
  const std::vector<float> observed(input.size(), 1.0f);
  const auto scale = FitScoreScale(v1::FEATURE_NORMALISED, kWidth, kWidth, input, output, observed);
  ASSERT_TRUE(scale.ok());
  std::vector<float> parts(kWidth);
  double sum = 0;
  for (size_t i = 0; i < input.size(); i += kWidth) {
    const auto vector = [&](const std::vector<float>& values) { return std::span(values).subspan(i, kWidth); };
    sum += VectorError(*scale, vector(input), vector(output), vector(observed), parts);
  }
  EXPECT_NEAR(sum / 400, 1, 1e-4);
  for (const float part : parts) EXPECT_NEAR(part / 400, 0.2, 1e-3);
}

TEST(FitScoreScale, FloorsAColumnLearnedPerfectly) {
  const std::vector<float> input = {0, 0, 0, 0};
  const std::vector<float> observed = {1, 1, 1, 1};
  // Mean over the positions 1: the floor is a thousandth of it.
  auto scale = FitScoreScale(v1::FEATURE_NORMALISED, 2, 2, input,
                             std::vector<float>{1e-5f, 1.41421356f, 0, 1.41421356f}, observed);
  ASSERT_TRUE(scale.ok());
  EXPECT_NEAR(scale->residual_variance(0), 1e-3, 1e-8);
  scale = FitScoreScale(v1::FEATURE_NORMALISED, 2, 2, input, std::vector<float>{0, 0, 0, 0}, observed);
  ASSERT_TRUE(scale.ok());
  EXPECT_FLOAT_EQ(scale->residual_variance(0), 1e-6f);
}

TEST(FitScoreScale, APositionNeverObservedGetsTheMean) {
  const std::vector<float> zeros = {0, 0, 0};
  auto scale =
      FitScoreScale(v1::FEATURE_NORMALISED, 3, 3, zeros, std::vector<float>{1, 2, 9}, std::vector<float>{1, 1, 0});
  ASSERT_TRUE(scale.ok());
  EXPECT_FLOAT_EQ(scale->residual_variance(2), 2.5f);
  scale = FitScoreScale(v1::FEATURE_NORMALISED, 3, 3, zeros, zeros, zeros);
  ASSERT_TRUE(scale.ok());
  EXPECT_THAT(scale->residual_variance(), ElementsAre(1, 1, 1));
}

TEST(FitScoreScale, RefusesWhatItCannotFit) {
  const std::vector<float> one = {1};
  EXPECT_THAT(
      FitScoreScale(v1::SCORE_KIND_UNSPECIFIED, 1, 1, one, one, one).status().message(),
      HasSubstr("score.kind: expected MEAN_SQUARED, FEATURE_NORMALISED, WINDOW_NORMALISED or TRAINING_LOSS, got 0"));
  EXPECT_EQ(FitScoreScale(v1::FEATURE_NORMALISED, 2, 2, one, one, one).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FitScoreScale(v1::FEATURE_NORMALISED, 1, 1, {}, {}, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
  const auto status = FitScoreScale(v1::FEATURE_NORMALISED, 1, 1, one, std::vector<float>{HUGE_VALF}, one).status();
  EXPECT_EQ(status, absl::InternalError("score: vector 0 position 0: expected a finite output, got inf"));
}

TEST(CheckScoreScale, RefusesABadScale) {
  const std::vector<std::pair<v1::ScoreScale, std::string>> cases = {
      {v1::ScoreScale(), "kind: expected MEAN_SQUARED"},
      {Normalised({1}), "residual_variance: expected 2 values, got 1"},
      {Normalised({1, 0}), "residual_variance 1: expected a finite number above 0, got 0"},
      {Normalised({-1, 1}), "residual_variance 0"},
      {Normalised({1, std::nanf("")}), "residual_variance 1"},
      {Normalised({HUGE_VALF, 1}), "residual_variance 0"},
  };
  for (const auto& [scale, message] : cases) {
    const absl::Status status = CheckScoreScale(scale, 2, 2);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
  v1::ScoreScale extra = MeanSquared();
  extra.add_residual_variance(1);
  EXPECT_THAT(std::string(CheckScoreScale(extra, 2, 2).message()), HasSubstr("expected 0 values, got 1"));
}

}  // namespace
}  // namespace astray
