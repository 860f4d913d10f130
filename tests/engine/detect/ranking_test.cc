#include "engine/detect/ranking.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

#include "engine/base/random.h"

namespace astray {
namespace {

struct Ranked {
  std::vector<float> scores;
  std::vector<uint8_t> labels;
};

// The formulas, pair by pair and threshold by threshold.
double BruteAuroc(const Ranked& r) {
  double wins = 0;
  double pairs = 0;
  for (size_t i = 0; i < r.scores.size(); ++i) {
    for (size_t j = 0; j < r.scores.size(); ++j) {
      if (r.labels[i] == 0 || r.labels[j] != 0) continue;
      pairs += 1;
      wins += r.scores[i] > r.scores[j] ? 1 : (r.scores[i] == r.scores[j] ? 0.5 : 0);
    }
  }
  return wins / pairs;
}

struct Curve {
  double average_precision = 0;
  double best_f1 = 0;
};

Curve BruteCurve(const Ranked& r) {
  Curve curve;
  double last_recall = 0;
  const std::set<float, std::greater<>> thresholds(r.scores.begin(), r.scores.end());
  for (const float threshold : thresholds) {
    double tp = 0;
    double fp = 0;
    double fn = 0;
    for (size_t i = 0; i < r.scores.size(); ++i) {
      const bool flagged = r.scores[i] >= threshold;
      tp += flagged && r.labels[i] != 0 ? 1 : 0;
      fp += flagged && r.labels[i] == 0 ? 1 : 0;
      fn += !flagged && r.labels[i] != 0 ? 1 : 0;
    }
    curve.average_precision += (tp / (tp + fn) - last_recall) * tp / (tp + fp);
    last_recall = tp / (tp + fn);
    curve.best_f1 = std::max(curve.best_f1, 2 * tp / (2 * tp + fp + fn));
  }
  return curve;
}

void ExpectRanking(const Ranked& r, double auroc, double average_precision, double best_f1) {
  EXPECT_NEAR(Auroc(r.scores, r.labels), auroc, 1e-12);
  EXPECT_NEAR(AveragePrecision(r.scores, r.labels), average_precision, 1e-12);
  EXPECT_NEAR(BestF1(r.scores, r.labels), best_f1, 1e-12);
}

// Numbers by scikit-learn 1.2.1.
TEST(Ranking, MatchesScikitLearn) {
  ExpectRanking({{0.1f, 0.4f, 0.35f, 0.8f}, {0, 0, 1, 1}}, 0.75, 0.8333333333333333, 0.8);
}

TEST(Ranking, TiesCountAsScikitLearnCountsThem) {
  ExpectRanking({{0.5f, 0.5f, 0.5f, 0.2f, 0.9f, 0.9f, 0.1f, 0.7f}, {1, 0, 1, 0, 1, 0, 0, 1}}, 0.71875, 0.625, 0.8);
  ExpectRanking({{1, 1, 1, 1, 1}, {0, 1, 0, 0, 1}}, 0.5, 0.4, 0.5714285714285715);
  Ranked many;
  for (int i = 0; i < 60; ++i) {
    many.scores.push_back(static_cast<float>(((i * 7919) % 101) % 13));
    many.labels.push_back((i * 31) % 7 == 0 || (i * 31) % 7 == 3 ? 1 : 0);
  }
  ExpectRanking(many, 0.5119047619047619, 0.3560895223150125, 0.4615384615384615);
}

TEST(Ranking, MatchesBruteForce) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    Random random(seed);
    Ranked r;
    const uint64_t levels = 2 + random.UniformInt(60);
    for (int i = 0; i < 80; ++i) {
      r.labels.push_back(i < 2 ? static_cast<uint8_t>(i) : static_cast<uint8_t>(random.UniformInt(2)));
      r.scores.push_back(static_cast<float>(random.UniformInt(levels) + 3 * r.labels.back()));
    }
    const Curve curve = BruteCurve(r);
    ExpectRanking(r, BruteAuroc(r), curve.average_precision, curve.best_f1);
  }
}

TEST(Ranking, PerfectAndReversedOrder) {
  ExpectRanking({{1, 2, 3, 4}, {0, 0, 1, 1}}, 1, 1, 1);
  EXPECT_EQ(Auroc(std::vector<float>{4, 3, 2, 1}, std::vector<uint8_t>{0, 0, 1, 1}), 0);
}

TEST(Ranking, AMissingClassGivesNaN) {
  const std::vector<float> scores = {1, 2};
  for (const std::vector<uint8_t>& labels : {std::vector<uint8_t>{0, 0}, std::vector<uint8_t>{1, 1}}) {
    EXPECT_TRUE(std::isnan(Auroc(scores, labels)));
    EXPECT_TRUE(std::isnan(AveragePrecision(scores, labels)));
    EXPECT_TRUE(std::isnan(BestF1(scores, labels)));
  }
  EXPECT_TRUE(std::isnan(Auroc({}, {})));
}

TEST(Confusion, CountsAboveTheThreshold) {
  const std::vector<float> scores = {0.5f, 1, 1.5f, 2, 3};
  const std::vector<uint8_t> labels = {0, 1, 0, 1, 1};
  const Confusion confusion = CountAbove(scores, labels, 1);
  EXPECT_EQ(confusion.true_positives, 2u);
  EXPECT_EQ(confusion.false_positives, 1u);
  EXPECT_EQ(confusion.true_negatives, 1u);
  EXPECT_EQ(confusion.false_negatives, 1u);
  EXPECT_DOUBLE_EQ(confusion.precision(), 2.0 / 3);
  EXPECT_DOUBLE_EQ(confusion.recall(), 2.0 / 3);
  EXPECT_DOUBLE_EQ(confusion.f1(), 2.0 / 3);
  EXPECT_DOUBLE_EQ(confusion.false_positive_rate(), 0.5);
}

TEST(Confusion, RatiosOfNothingAreZero) {
  const Confusion nothing;
  EXPECT_EQ(nothing.precision(), 0);
  EXPECT_EQ(nothing.recall(), 0);
  EXPECT_EQ(nothing.f1(), 0);
  EXPECT_EQ(nothing.false_positive_rate(), 0);
}

TEST(RankingCurveTest, HasTheAreasOfItsMeasures) {
  Random random(17);
  Ranked r;
  for (int i = 0; i < 2000; ++i) {
    r.labels.push_back(random.Uniform() < 0.2 ? 1 : 0);
    r.scores.push_back(static_cast<float>(std::round(20 * (random.Normal() + r.labels.back())) / 20));
  }
  const auto areas = [&](double step) {
    double roc = 0;
    double average_precision = 0;
    RankingPoint last;
    for (const RankingPoint& point : RankingCurve(r.scores, r.labels, step)) {
      roc += (point.false_positive_rate - last.false_positive_rate) * (point.recall + last.recall) / 2;
      average_precision += (point.recall - last.recall) * point.precision;
      last = point;
    }
    EXPECT_EQ(last.recall, 1);
    EXPECT_EQ(last.false_positive_rate, 1);
    return std::pair(roc, average_precision);
  };
  EXPECT_NEAR(areas(0).first, Auroc(r.scores, r.labels), 1e-12);
  EXPECT_NEAR(areas(0).second, AveragePrecision(r.scores, r.labels), 1e-12);
  EXPECT_NEAR(areas(0.01).first, Auroc(r.scores, r.labels), 0.002);
  EXPECT_NEAR(areas(0.01).second, AveragePrecision(r.scores, r.labels), 0.01);
  EXPECT_EQ(RankingCurve(r.scores, r.labels, 0).size(), std::set<float>(r.scores.begin(), r.scores.end()).size());
  EXPECT_LT(RankingCurve(r.scores, r.labels, 0.1).size(), 40u);
  EXPECT_TRUE(RankingCurve(r.scores, std::vector<uint8_t>(2000, 0), 0).empty());
}

}  // namespace
}  // namespace astray
