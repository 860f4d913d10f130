#include "engine/train/score_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "engine/base/random.h"
#include "engine/train/train_job.h"

namespace astray {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

TEST(LogLikelihoods, OfErrorsThatSayNothingIsThatOfACoin) {
  const std::vector<float> errors(20, 3.0f);
  std::vector<uint8_t> anomalous(20);
  std::fill_n(anomalous.begin(), 5, 1);
  EXPECT_THAT(LogLikelihoods(errors, anomalous), Each(::testing::DoubleNear(std::log(0.5), 1e-6)));
}

TEST(LogLikelihoods, IsTheBestOfAllLinesInTheLogarithm) {
  // Log-normal errors whose medians differ by a factor: no intercept and slope of a fine grid does better.
  Random random(5);
  std::vector<float> errors;
  std::vector<uint8_t> anomalous;
  for (int i = 0; i < 300; ++i) {
    anomalous.push_back(i % 3 == 0 ? 1 : 0);
    errors.push_back(static_cast<float>(std::exp(random.Normal() + (i % 3 == 0 ? 1.5 : 0))));
  }
  const double found = WeighedMean(LogLikelihoods(errors, anomalous), anomalous);
  double best = -1e9;
  for (double a = -4; a <= 4; a += 0.02) {
    for (double b = 0; b <= 4; b += 0.02) {
      std::vector<double> each;
      for (size_t i = 0; i < errors.size(); ++i) {
        const double z = a + b * std::log(errors[i]);
        each.push_back(-std::log1p(std::exp(anomalous[i] != 0 ? -z : z)));
      }
      best = std::max(best, WeighedMean(each, anomalous));
    }
  }
  EXPECT_NEAR(found, best, 1e-3);
  EXPECT_GE(found, best - 1e-5);
}

TEST(LogLikelihoods, StaysFiniteWhereTheClassesPart) {
  const std::vector<float> errors = {0, 1e-30f, 1, 2, 1e30f, 3e38f};
  const std::vector<uint8_t> anomalous = {0, 0, 0, 1, 1, 1};
  for (const double each : LogLikelihoods(errors, anomalous)) EXPECT_TRUE(std::isfinite(each)) << each;
}

// Rows of features that move together, with noise that is heavy in one of them.
Dataset CoupledRows(size_t rows, bool heavy) {
  Random random(9);
  Dataset data;
  data.feature_names = {"a", "b", "c", "d"};
  for (size_t i = 0; i < rows; ++i) {
    const double load = random.Normal();
    for (size_t f = 0; f < 4; ++f) {
      const double noise = heavy && f == 3 ? 3 * random.Normal() : 0.1 * random.Normal();
      data.values.push_back(static_cast<float>((f % 2 == 0 ? load : -load) + noise));
    }
  }
  return data;
}

v1::Recipe ShortRecipe() {
  v1::Recipe recipe;
  recipe.set_name("choice");
  recipe.mutable_training()->set_max_steps(600);
  return recipe;
}

TEST(ChooseScore, LeavesOutTheFeatureThatNobodyCanPredict) {
  // The unpredictable column drowns the others in a plain mean: a score that knows its usual residual does better.
  const auto trained = Train(ShortRecipe(), CoupledRows(3000, /*heavy=*/true), {});
  ASSERT_TRUE(trained.ok()) << trained.status();
  const v1::ScoreKind chosen = trained->detector->model().recipe.score().kind();
  EXPECT_TRUE(chosen == v1::FEATURE_NORMALISED || chosen == v1::MAHALANOBIS) << v1::ScoreKind_Name(chosen);
  EXPECT_EQ(trained->detector->model().score_scale.kind(), chosen);
  ASSERT_EQ(trained->report.scores_size(), 3);
  EXPECT_EQ(trained->report.scores(0).kind(), v1::MEAN_SQUARED);
  for (const v1::ScoreCandidate& candidate : trained->report.scores()) {
    EXPECT_LE(candidate.log_score(), 0);
    EXPECT_GE(candidate.log_score(), std::log(0.5) - 1e-6);
    EXPECT_GT(candidate.auroc(), 0.5);
  }
  const auto again = Train(ShortRecipe(), CoupledRows(3000, /*heavy=*/true), {});
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->report.SerializeAsString(), trained->report.SerializeAsString());
}

TEST(ChooseScore, TakesWhatTheRecipeSays) {
  v1::Recipe recipe = ShortRecipe();
  recipe.mutable_score()->set_kind(v1::WORST_FEATURE);
  const auto trained = Train(recipe, CoupledRows(500, false), {});
  ASSERT_TRUE(trained.ok()) << trained.status();
  EXPECT_EQ(trained->detector->model().score_scale.kind(), v1::WORST_FEATURE);
  EXPECT_EQ(trained->detector->model().recipe.score().recent_rows(), 1);
  EXPECT_EQ(trained->report.scores_size(), 0);
}

TEST(ChooseScore, RefusesBeforeTraining) {
  v1::Recipe recipe = ShortRecipe();
  recipe.mutable_score()->set_recent_rows(1);
  EXPECT_EQ(Train(recipe, CoupledRows(500, false), {}).status().message(), "score.recent_rows: needs a score.kind");
  recipe.mutable_score()->set_kind(v1::WINDOW_SCALES);
  recipe.mutable_score()->set_recent_rows(30);
  EXPECT_EQ(Train(recipe, CoupledRows(500, false), {}).status().message(),
            "score.recent_rows: expected 1 to 1, got 30");
}

}  // namespace
}  // namespace astray
