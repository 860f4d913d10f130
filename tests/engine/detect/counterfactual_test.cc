#include "engine/detect/counterfactual.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "engine/base/random.h"
#include "engine/detect/detector.h"
#include "tests/testing/reference_network.h"
#include "tests/testing/tiny_detector.h"

namespace astray {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::shared_ptr<const Detector> SevenFeatures(uint32_t window) {
  return MakeTinyDetector({.features = {"a", "b", "c", "d", "e", "f", "g"}, .window = window});
}

// The header's words for one vector in double precision: its score with the features of `repaired` taken for missing
// and filled in. None where nothing else is observed. MEAN_SQUARED.
std::optional<double> RepairedScore(const Detector& detector, std::span<const float> input,
                                    std::span<const float> observed, const std::vector<uint32_t>& repaired) {
  const Pipeline& pipeline = detector.model().pipeline;
  const Network& network = detector.model().executors.network();
  const std::vector<double> parameters(network.parameters().begin(), network.parameters().end());
  const auto is_repaired = [&](size_t j) {
    return std::ranges::find(repaired, j % detector.features()) != repaired.end();
  };
  const auto reconstruct = [&](const std::vector<double>& x) {
    const std::vector<float> row(x.begin(), x.end());
    return testing::ReferenceForward(network, parameters, row).back();
  };
  std::vector<double> x(input.begin(), input.end());
  for (size_t j = 0; j < x.size(); ++j) {
    if (is_repaired(j)) x[j] = pipeline.scaler().state().fill(static_cast<int>(j % detector.features()));
  }
  bool moves = true;
  for (uint32_t iteration = 0; moves && iteration < kRepairIterations; ++iteration) {
    const std::vector<double> y = reconstruct(x);
    moves = false;
    for (size_t j = 0; j < x.size(); ++j) {
      if (!is_repaired(j)) continue;
      const size_t f = j % detector.features();
      const double rebuilt = std::clamp<double>(y[j], pipeline.training_low()[f], pipeline.training_high()[f]);
      moves = moves || std::abs(rebuilt - x[j]) > kImputationTolerance;
      x[j] = (x[j] + rebuilt) / 2;
    }
  }
  const std::vector<double> y = reconstruct(x);
  double sum = 0, count = 0;
  for (size_t j = 0; j < x.size(); ++j) {
    if (observed[j] == 0 || is_repaired(j)) continue;
    sum += (y[j] - x[j]) * (y[j] - x[j]);
    count += 1;
  }
  if (count == 0) return std::nullopt;
  return sum / count / detector.calibration().threshold();
}

bool Close(double a, double b) { return std::abs(a - b) <= 5e-3 * std::max(a, b); }

// Every repair that was chosen is as good as any that could have been.
TEST(Counterfactual, AgreesWithTryingEveryRepairInDoublePrecision) {
  size_t steps_seen = 0, several = 0;
  for (const uint32_t window : {1u, 3u}) {
    const auto detector = SevenFeatures(window);
    std::vector<float> rows = TinyRows(400, 7, 4);
    Random random(window);
    for (int i = 0; i < 60; ++i) rows[random.UniformInt(rows.size())] += static_cast<float>(3 * random.Normal());
    for (int i = 0; i < 60; ++i) rows[random.UniformInt(rows.size())] = kNaN;
    for (const uint32_t most : {1u, 3u, 7u}) {
      ScoreResult result, plain;
      ASSERT_TRUE(detector->Score(rows, {.top_contributors = 7}, &plain).ok());
      ASSERT_TRUE(detector->Score(rows, {.top_contributors = 7, .counterfactual = most}, &result).ok());
      Batch batch;
      ASSERT_TRUE(detector->model().pipeline.Apply(rows, &batch).ok());
      const size_t width = detector->model().pipeline.width(), suspects = std::max(5u, most);
      for (size_t i = 0; i < result.verdicts.size(); ++i) {
        const Verdict& verdict = result.verdicts[i];
        ASSERT_EQ(verdict.score, plain.verdicts[i].score);
        ASSERT_EQ(verdict.contributions, plain.verdicts[i].contributions);
        if (!verdict.anomalous) {
          ASSERT_EQ(verdict.repairs, 0u);
          continue;
        }
        const auto observed = std::span<const float>(batch.observed).subspan(i * width, width);
        const auto score_with = [&](const std::vector<uint32_t>& repaired) {
          return RepairedScore(*detector, batch.vector(i), observed, repaired);
        };
        // The suspects are those of the largest shares; they come first, by what their repair leaves.
        const size_t tried = std::min<size_t>(suspects, verdict.contributions);
        std::vector<uint32_t> by_share, named;
        for (size_t k = 0; k < verdict.contributions; ++k) {
          const Contribution& contribution = result.contributions[i * 7 + k];
          named.push_back(contribution.feature);
          if (k < tried) by_share.push_back(plain.contributions[i * 7 + k].feature);
          if (k >= tried) {
            EXPECT_TRUE(std::isnan(contribution.repaired_score));
            EXPECT_EQ(contribution.feature, plain.contributions[i * 7 + k].feature);
            continue;
          }
          const auto expected = score_with({contribution.feature});
          ASSERT_EQ(std::isnan(contribution.repaired_score), !expected);
          if (!expected) continue;
          EXPECT_PRED2(Close, contribution.repaired_score, *expected);
          if (k > 0) {
            EXPECT_GE(contribution.repaired_score, result.contributions[i * 7 + k - 1].repaired_score);
          }
        }
        ASSERT_TRUE(std::is_permutation(by_share.begin(), by_share.end(), named.begin()));

        std::vector<uint32_t> repaired;
        double score = verdict.score;
        for (uint32_t step = 0; step < verdict.repairs; ++step) {
          EXPECT_GT(score, 1) << "no step after it is normal";
          const RepairStep& taken = result.repairs[i * result.repairs_stride + step];
          ASSERT_LT(taken.score, score);
          for (const uint32_t other : by_share) {
            if (std::ranges::find(repaired, other) != repaired.end()) continue;
            std::vector<uint32_t> with = repaired;
            with.push_back(other);
            const double possible = score_with(with).value_or(1e30);
            EXPECT_TRUE(taken.score <= possible || Close(taken.score, possible)) << i << " step " << step;
            if (other == taken.feature) {
              EXPECT_PRED2(Close, taken.score, possible);
            }
          }
          repaired.push_back(taken.feature);
          score = taken.score;
        }
        // It ends for a reason.
        if (score > 1 && verdict.repairs < most) {
          for (const uint32_t other : by_share) {
            if (std::ranges::find(repaired, other) != repaired.end()) continue;
            std::vector<uint32_t> with = repaired;
            with.push_back(other);
            EXPECT_GT(score_with(with).value_or(1e30), score * 0.995);
          }
        }
        steps_seen += verdict.repairs;
        several += verdict.repairs > 1 ? 1 : 0;
      }
    }
  }
  EXPECT_GT(steps_seen, 50u);
  EXPECT_GT(several, 10u);
}

TEST(Counterfactual, WhereNothingElseIsObservedThereIsNoRepair) {
  const auto detector = MakeTinyDetector();
  const std::vector<float> rows = {1e5f, kNaN, kNaN};
  ScoreResult result;
  ASSERT_TRUE(detector->Score(rows, {.counterfactual = 3}, &result).ok());
  EXPECT_TRUE(result.verdicts[0].anomalous);
  EXPECT_EQ(result.verdicts[0].repairs, 0u);
  ASSERT_EQ(result.verdicts[0].contributions, 1u);
  EXPECT_EQ(result.contributions[0].feature, 0u);
  EXPECT_TRUE(std::isnan(result.contributions[0].repaired_score));
}

TEST(Counterfactual, NamesOnlyAsManyFeaturesAsAskedFor) {
  const auto detector = SevenFeatures(1);
  std::vector<float> rows = TinyRows(20, 7, 4);
  rows[7 * 3 + 2] = 1000;
  for (const size_t top : {0u, 1u, 2u, 6u}) {
    ScoreResult result;
    ASSERT_TRUE(
        detector->Score(rows, {.top_contributors = top, .explain_all = true, .counterfactual = 2}, &result).ok());
    for (const Verdict& verdict : result.verdicts) EXPECT_EQ(verdict.contributions, top);
    ASSERT_GE(result.verdicts[3].repairs, 1u);
    EXPECT_EQ(result.repairs[3 * result.repairs_stride].feature, 2u);
    if (top > 0) {
      EXPECT_EQ(result.contributions[3 * result.contributions_stride].feature, 2u);
    }
  }
}

// Wherever in between it stops, it stops there; while it is wanted, it is as if nobody had asked.
TEST(Counterfactual, EndsBetweenPassesWhenItIsNoLongerWanted) {
  const auto detector = SevenFeatures(1);
  std::vector<float> rows = TinyRows(200, 7, 4);
  for (size_t i = 0; i < rows.size(); i += 7) rows[i] += 30;
  const ScoreOptions options = {.counterfactual = 3};
  ScoreResult unasked, result;
  ASSERT_TRUE(detector->Score(rows, options, &unasked).ok());
  int asked = 0, most = std::numeric_limits<int>::max();
  const auto wanted = [&] { return ++asked <= most ? absl::OkStatus() : absl::DeadlineExceededError("late"); };
  ASSERT_TRUE(detector->Score(rows, options, &result, {}, wanted).ok());
  ASSERT_EQ(result.repairs.size(), unasked.repairs.size());
  for (size_t i = 0; i < result.verdicts.size(); ++i) {
    ASSERT_EQ(result.verdicts[i].repairs, unasked.verdicts[i].repairs);
    for (size_t k = 0; k < result.verdicts[i].repairs; ++k) {
      const size_t at = i * result.repairs_stride + k;
      EXPECT_EQ(result.repairs[at].feature, unasked.repairs[at].feature);
      EXPECT_EQ(result.repairs[at].score, unasked.repairs[at].score);
    }
  }
  // 200 rows have 1000 suspects, in tiles of 256 trials.
  const int all = asked;
  EXPECT_GT(all, 4);
  for (most = 0; most < all; ++most) {
    asked = 0;
    EXPECT_EQ(detector->Score(rows, options, &result, {}, wanted), absl::DeadlineExceededError("late"));
    EXPECT_EQ(asked, most + 1);
  }
}

TEST(Counterfactual, WhatDoesNotIterateDoesNotAsk) {
  const auto detector = SevenFeatures(1);
  std::vector<float> rows = TinyRows(20, 7, 4);
  rows[3] = 1000;
  ScoreResult result;
  const auto gone = [] { return absl::CancelledError("gone"); };
  EXPECT_TRUE(detector->Score(rows, {.explain_all = true, .reconstruction = true}, &result, {}, gone).ok());
  rows[20] = kNaN;
  EXPECT_FALSE(detector->Score(rows, {.imputation = true}, &result, {}, gone).ok());
  EXPECT_FALSE(detector->Score(rows, {.purification_passes = 1}, &result, {}, gone).ok());
}

}  // namespace
}  // namespace astray
