#include "engine/detect/score_kind.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>

#include "engine/base/random.h"
#include "engine/detect/error_formula.h"
#include "engine/detect/score_scale.h"

namespace astray {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// As of one vector; unless feature_error is empty, with the parts of the features.
float VectorError(const v1::ScoreScale& scale, std::span<const float> input, std::span<const float> output,
                  std::span<const float> observed, std::span<float> feature_error) {
  const RebuiltVectors vector = {.count = 1,
                                 .width = input.size(),
                                 .outputs = output.size(),
                                 .input = input.data(),
                                 .output = output.data(),
                                 .observed = observed.data()};
  ErrorFormula::Scratch scratch;
  if (!feature_error.empty()) return ErrorFormula(scale).Explain(vector, &scratch, feature_error).error;
  float error = 0;
  ErrorFormula(scale).Errors(vector, &scratch, std::span(&error, 1));
  return error;
}

v1::ScoreRecipe Score(v1::ScoreKind kind, uint32_t recent_rows = 0) {
  v1::ScoreRecipe score;
  score.set_kind(kind);
  score.set_recent_rows(recent_rows);
  return score;
}

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
  const auto window = FitScoreScale(Score(v1::WINDOW_NORMALISED), 3, 3, {input, output, observed});
  const auto feature = FitScoreScale(Score(v1::FEATURE_NORMALISED), 3, 3, {input, output, observed});
  ASSERT_TRUE(window.ok() && feature.ok());
  const std::vector<float> other = {0, 1, 9};
  EXPECT_FLOAT_EQ(VectorError(*window, input, other, observed, {}), VectorError(*feature, input, other, observed, {}));
}

TEST(FitScoreScale, FitsTheLevelOfAWindowsFeatures) {
  // One feature, windows of two: mean residuals 2 and -1, so the level's mean square is 2.5.
  const std::vector<float> input = {0, 0, 0, 0}, output = {1, 3, 0, -2}, observed = {1, 1, 1, 1};
  const auto scale = FitScoreScale(Score(v1::WINDOW_NORMALISED), 1, 2, {input, output, observed});
  ASSERT_TRUE(scale.ok()) << scale.status();
  EXPECT_FLOAT_EQ(scale->level_variance(0), 2.5f);
  EXPECT_FLOAT_EQ(scale->residual_variance(0), 0.5f);
  EXPECT_FLOAT_EQ(scale->residual_variance(1), 6.5f);
  EXPECT_TRUE(CheckScoreScale(*scale, 1, 2).ok());
  v1::ScoreScale two = *scale;
  two.set_features(2);
  EXPECT_THAT(std::string(CheckScoreScale(two, 2, 2).message()), HasSubstr("level_variance: expected 2 values, got 1"));
}

TEST(FitScoreScale, IsTheMeanSquaredResidualOfEachPosition) {
  const std::vector<float> input = {0, 0, 0, 0, 0, 0};
  const std::vector<float> output = {1, 10, 3, 20, 2, 500};
  const std::vector<float> observed = {1, 1, 1, 1, 1, 0};
  const auto scale = FitScoreScale(Score(v1::FEATURE_NORMALISED), 2, 2, {input, output, observed});
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
  const auto scale = FitScoreScale(Score(v1::FEATURE_NORMALISED), kWidth, kWidth, {input, output, observed});
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
  auto scale = FitScoreScale(Score(v1::FEATURE_NORMALISED), 2, 2,
                             {input, std::vector<float>{1e-5f, 1.41421356f, 0, 1.41421356f}, observed});
  ASSERT_TRUE(scale.ok());
  EXPECT_NEAR(scale->residual_variance(0), 1e-3, 1e-8);
  scale = FitScoreScale(Score(v1::FEATURE_NORMALISED), 2, 2, {input, std::vector<float>{0, 0, 0, 0}, observed});
  ASSERT_TRUE(scale.ok());
  EXPECT_FLOAT_EQ(scale->residual_variance(0), 1e-6f);
}

TEST(FitScoreScale, APositionNeverObservedGetsTheMean) {
  const std::vector<float> zeros = {0, 0, 0};
  auto scale = FitScoreScale(Score(v1::FEATURE_NORMALISED), 3, 3,
                             {zeros, std::vector<float>{1, 2, 9}, std::vector<float>{1, 1, 0}});
  ASSERT_TRUE(scale.ok());
  EXPECT_FLOAT_EQ(scale->residual_variance(2), 2.5f);
  scale = FitScoreScale(Score(v1::FEATURE_NORMALISED), 3, 3, {zeros, zeros, zeros});
  ASSERT_TRUE(scale.ok());
  EXPECT_THAT(scale->residual_variance(), ElementsAre(1, 1, 1));
}

TEST(FitScoreScale, RefusesWhatItCannotFit) {
  const std::vector<float> one = {1};
  EXPECT_THAT(FitScoreScale(Score(v1::SCORE_KIND_UNSPECIFIED), 1, 1, {one, one, one}).status().message(),
              HasSubstr("or TRAINING_LOSS, got 0"));
  EXPECT_EQ(FitScoreScale(Score(v1::FEATURE_NORMALISED), 2, 2, {one, one, one}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FitScoreScale(Score(v1::FEATURE_NORMALISED), 1, 1, {{}, {}, {}}).status().code(),
            absl::StatusCode::kInvalidArgument);
  const auto status =
      FitScoreScale(Score(v1::FEATURE_NORMALISED), 1, 1, {one, std::vector<float>{HUGE_VALF}, one}).status();
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

// Normal vectors of correlated residuals: input 0, so that the output is the residual.
struct Held {
  std::vector<float> input, output, observed;
};

Held CorrelatedResiduals(size_t vectors, size_t features, size_t window) {
  Random random(11);
  Held held;
  for (size_t i = 0; i < vectors; ++i) {
    const double shared = random.Normal();
    for (size_t j = 0; j < features * window; ++j) {
      const double own = 0.5 * random.Normal();
      held.output.push_back(static_cast<float>((j % features == 0 ? -1 : 1) * shared + own));
    }
  }
  held.input.assign(held.output.size(), 0);
  held.observed.assign(held.output.size(), 1);
  return held;
}

// zᵀ A⁻¹ z by Gauss elimination, in double precision.
double QuadraticForm(std::vector<std::vector<double>> a, const std::vector<double>& z) {
  const size_t n = z.size();
  std::vector<double> x = z;
  for (size_t k = 0; k < n; ++k) {
    for (size_t i = k + 1; i < n; ++i) {
      const double factor = a[i][k] / a[k][k];
      for (size_t j = k; j < n; ++j) a[i][j] -= factor * a[k][j];
      x[i] -= factor * x[k];
    }
  }
  for (size_t k = n; k-- > 0;) {
    for (size_t j = k + 1; j < n; ++j) x[k] -= a[k][j] * x[j];
    x[k] /= a[k][k];
  }
  return std::inner_product(z.begin(), z.end(), x.begin(), 0.0);
}

// The correlation whose inverse a scale holds, its lower triangle row by row.
std::vector<std::vector<double>> Inverse(const v1::ScoreScale& scale, size_t n) {
  std::vector<std::vector<double>> precision(n, std::vector<double>(n)), inverse(n, std::vector<double>(n));
  for (size_t a = 0, at = 0; a < n; ++a) {
    for (size_t b = 0; b <= a; ++b, ++at) precision[a][b] = precision[b][a] = scale.precision(static_cast<int>(at));
  }
  // Column by column: x with precision x = e, by e_aᵀ P⁻¹ e_b = ((e_a + e_b)ᵀ P⁻¹ (e_a + e_b) - ...) / 2.
  const auto unit = [&](size_t a, size_t b) {
    std::vector<double> e(n);
    e[a] += 1;
    e[b] += 1;
    return e;
  };
  for (size_t a = 0; a < n; ++a) inverse[a][a] = QuadraticForm(precision, unit(a, a)) / 4;
  for (size_t a = 0; a < n; ++a) {
    for (size_t b = 0; b < a; ++b) {
      inverse[a][b] = inverse[b][a] = (QuadraticForm(precision, unit(a, b)) - inverse[a][a] - inverse[b][b]) / 2;
    }
  }
  return inverse;
}

TEST(FitScoreScale, MahalanobisShrinksTheCorrelation) {
  const Held held = CorrelatedResiduals(4000, 3, 1);
  const auto scale = FitScoreScale(Score(v1::MAHALANOBIS), 3, 3, {held.input, held.output, held.observed});
  ASSERT_TRUE(scale.ok()) << scale.status();
  const auto correlation = Inverse(*scale, 3);
  // 1 / 1.25 of the variance is shared; the least weight of the identity is 0.1.
  for (size_t f = 0; f < 3; ++f) EXPECT_NEAR(correlation[f][f], 1, 1e-5);
  EXPECT_NEAR(correlation[1][0], -0.9 * 0.8, 0.02);
  EXPECT_NEAR(correlation[2][1], 0.9 * 0.8, 0.02);
  for (int f = 0; f < 3; ++f) EXPECT_NEAR(scale->level_variance(f), 1.25, 0.06);
}

TEST(FitScoreScale, AVarianceIsTheLargerOneOfHeldOutAndTrainingVectors) {
  // The same but for the second feature, of which the training vectors have twice the residuals.
  const Held held = CorrelatedResiduals(2000, 3, 2);
  Held training = CorrelatedResiduals(2000, 3, 2);
  for (size_t j = 1; j < training.output.size(); j += 3) training.output[j] *= 2;
  for (size_t j = 2; j < training.output.size(); j += 3) training.output[j] /= 2;
  for (const v1::ScoreKind kind : {v1::MAHALANOBIS, v1::WINDOW_SCALES}) {
    const auto alone = FitScoreScale(Score(kind), 3, 6, {held.input, held.output, held.observed});
    const auto both = FitScoreScale(Score(kind), 3, 6, {held.input, held.output, held.observed},
                                    {training.input, training.output, training.observed});
    ASSERT_TRUE(alone.ok() && both.ok()) << both.status();
    const std::vector<float> larger = {1, 4, 1};
    for (int f = 0; f < 3; ++f) {
      EXPECT_FLOAT_EQ(both->level_variance(f), larger[static_cast<size_t>(f)] * alone->level_variance(f));
    }
    for (int j = 0; j < both->residual_variance_size(); ++j) {
      EXPECT_FLOAT_EQ(both->residual_variance(j), larger[static_cast<size_t>(j % 3)] * alone->residual_variance(j));
    }
  }
}

TEST(FitScoreScale, MahalanobisLearnsItsCorrelationFromTrainingVectorsToo) {
  const Held held = CorrelatedResiduals(20, 3, 1), training = CorrelatedResiduals(4000, 3, 1);
  const auto both = FitScoreScale(Score(v1::MAHALANOBIS), 3, 3, {held.input, held.output, held.observed},
                                  {training.input, training.output, training.observed});
  ASSERT_TRUE(both.ok()) << both.status();
  EXPECT_NEAR(Inverse(*both, 3)[1][0], -0.9 * 0.8, 0.02);
}

TEST(VectorError, MahalanobisIsTheDistanceOfTheMeanResiduals) {
  const size_t features = 4, window = 3;
  const Held held = CorrelatedResiduals(500, features, window);
  for (const uint32_t recent : {0u, 2u}) {
    const auto scale = FitScoreScale(Score(v1::MAHALANOBIS, recent), features, features * window,
                                     {held.input, held.output, held.observed});
    ASSERT_TRUE(scale.ok()) << scale.status();
    EXPECT_EQ(scale->recent_rows(), recent);
    const auto correlation = Inverse(*scale, features);
    Random random(3);
    for (int trial = 0; trial < 20; ++trial) {
      std::vector<float> output(features * window), zeros(features * window), observed(features * window, 1);
      random.FillNormal(output);
      // From trial 10 on feature 1 is missing, which leaves the distance of the others: their own correlation's.
      std::vector<size_t> there = {0, 1, 2, 3};
      if (trial >= 10) {
        there = {0, 2, 3};
        for (size_t j = 1; j < output.size(); j += features) observed[j] = 0;
      }
      std::vector<double> z;
      std::vector<std::vector<double>> part;
      for (const size_t f : there) {
        double sum = 0;
        const size_t rows = recent == 0 ? window : recent;
        for (size_t row = window - rows; row < window; ++row) sum += output[row * features + f];
        z.push_back(sum / static_cast<double>(rows) / std::sqrt(scale->level_variance(static_cast<int>(f))));
        part.emplace_back();
        for (const size_t g : there) part.back().push_back(correlation[f][g]);
      }
      const double expected = QuadraticForm(part, z) / static_cast<double>(there.size());
      std::vector<float> parts(features);
      EXPECT_NEAR(VectorError(*scale, zeros, output, observed, parts), expected, 1e-4 * expected);
      EXPECT_NEAR(std::accumulate(parts.begin(), parts.end(), 0.0), expected, 1e-4 * expected);
      if (trial >= 10) {
        EXPECT_NEAR(parts[1], 0, 1e-4 * expected);
      }
    }
  }
}

TEST(VectorError, WindowScalesSeesWhatHasOnlyBegun) {
  // One feature, eight rows, unit variances: only the newest row is off.
  v1::ScoreScale scale;
  scale.set_kind(v1::WINDOW_SCALES);
  scale.set_features(1);
  for (int j = 0; j < 8; ++j) scale.add_residual_variance(1);
  scale.add_level_variance(1);
  const std::vector<float> zeros(8), seen(8, 1);
  EXPECT_FLOAT_EQ(VectorError(scale, zeros, std::vector<float>{0, 0, 0, 0, 0, 0, 0, 4}, seen, {}), 16);  // newest
  EXPECT_FLOAT_EQ(VectorError(scale, zeros, std::vector<float>{0, 0, 0, 0, 0, 0, 4, 0}, seen, {}), 8);   // quarter
  EXPECT_FLOAT_EQ(VectorError(scale, zeros, std::vector<float>{4, 0, 0, 0, 0, 0, 0, 0}, seen, {}), 2);   // window
  EXPECT_FLOAT_EQ(VectorError(scale, zeros, std::vector<float>{-2, 2, 2, 2, 2, 2, 2, 2}, seen, {}), 4);  // shape
  scale.set_level_variance(0, 0.25f);
  EXPECT_FLOAT_EQ(VectorError(scale, zeros, std::vector<float>{2, 2, 2, 2, 2, 2, 2, 2}, seen, {}), 4 / .25f);  // level
  // Without its newest row, the newest quarter is the last that is there.
  const std::vector<float> most = {1, 1, 1, 1, 1, 1, 1, 0};
  EXPECT_FLOAT_EQ(VectorError(scale, zeros, std::vector<float>{0, 0, 0, 0, 0, 0, 4, 9}, most, {}), 16);
}

TEST(VectorError, TheWorstFeatureIsTheErrorAndAllHaveTheirParts) {
  v1::ScoreScale scale;
  scale.set_kind(v1::WORST_FEATURE);
  scale.set_features(2);
  for (const float variance : {1.0f, 4.0f, 1.0f, 4.0f}) scale.add_residual_variance(variance);
  const std::vector<float> zeros(4), seen(4, 1);
  std::vector<float> parts(2);
  // Means of 5 and of (4 / 4 + 16 / 4) / 2.
  EXPECT_FLOAT_EQ(VectorError(scale, zeros, std::vector<float>{1, 2, 3, 4}, seen, parts), 5);
  EXPECT_FLOAT_EQ(parts[0], 5 * 5 / 7.5f);
  EXPECT_FLOAT_EQ(parts[1], 5 * 2.5f / 7.5f);
}

TEST(VectorError, OnlyTheRecentRowsCount) {
  const size_t features = 2, window = 4, width = features * window;
  const Held held = CorrelatedResiduals(50, features, window);
  for (const v1::ScoreKind kind :
       {v1::MEAN_SQUARED, v1::FEATURE_NORMALISED, v1::WORST_FEATURE, v1::WINDOW_NORMALISED, v1::WINDOW_SCALES}) {
    const auto scale = FitScoreScale(Score(kind, 2), features, width, {held.input, held.output, held.observed});
    ASSERT_TRUE(scale.ok()) << scale.status();
    // The same as of a window of the newest two rows.
    std::vector<float> newest_input, newest_output;
    for (size_t i = 0; i < 50; ++i) {
      for (size_t j = width / 2; j < width; ++j) newest_output.push_back(held.output[i * width + j]);
    }
    newest_input.assign(newest_output.size(), 0);
    const std::vector<float> seen(newest_output.size(), 1);
    const auto newest = FitScoreScale(Score(kind), features, width / 2, {newest_input, newest_output, seen});
    ASSERT_TRUE(newest.ok()) << newest.status();
    for (size_t i = 0; i < 50; ++i) {
      const auto part = [](const std::vector<float>& all, size_t at, size_t size) {
        return std::span(all).subspan(at * size, size);
      };
      const float expected = VectorError(*newest, part(newest_input, i, width / 2), part(newest_output, i, width / 2),
                                         part(seen, i, width / 2), {});
      EXPECT_NEAR(VectorError(*scale, part(held.input, i, width), part(held.output, i, width),
                              part(held.observed, i, width), {}),
                  expected, 1e-3 * expected)
          << v1::ScoreKind_Name(kind);
    }
  }
}

TEST(CheckScoreScale, RefusesWhatDoesNotFit) {
  const Held held = CorrelatedResiduals(50, 3, 2);
  const auto fitted = FitScoreScale(Score(v1::MAHALANOBIS, 1), 3, 6, {held.input, held.output, held.observed});
  ASSERT_TRUE(fitted.ok()) << fitted.status();
  EXPECT_TRUE(CheckScoreScale(*fitted, 3, 6).ok());
  const auto refused = [&](const std::function<void(v1::ScoreScale&)>& change) {
    v1::ScoreScale scale = *fitted;
    change(scale);
    return std::string(CheckScoreScale(scale, 3, 6).message());
  };
  EXPECT_EQ(refused([](auto& s) { s.set_features(2); }), "score: features: expected 3, got 2");
  EXPECT_EQ(refused([](auto& s) { s.set_features(0); }), "score: features: expected 3, got 0");
  EXPECT_EQ(refused([](auto& s) { s.set_recent_rows(3); }), "score: recent_rows: expected at most 2, got 3");
  EXPECT_EQ(refused([](auto& s) { s.mutable_precision()->RemoveLast(); }),
            "score: precision: expected 6 values, got 5");
  EXPECT_EQ(refused([](auto& s) { s.set_precision(2, -1); }),
            "score: precision: expected numbers above 0 in its diagonal, got -1");
  EXPECT_THAT(refused([](auto& s) { s.set_precision(1, std::numeric_limits<float>::quiet_NaN()); }),
              HasSubstr("score: precision 1: expected a finite number, got"));
  EXPECT_EQ(refused([](auto& s) { s.set_kind(v1::WORST_FEATURE); }),
            "score: residual_variance: expected 6 values, got 0");
  EXPECT_THAT(CheckScoreKind("score.kind", v1::MAHALANOBIS, 129).message(), HasSubstr("at most 128 features, got 129"));
}

}  // namespace
}  // namespace astray
