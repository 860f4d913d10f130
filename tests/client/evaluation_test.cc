#include "client/evaluation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "engine/data/dataset.h"
#include "engine/detect/range_ranking.h"
#include "tests/testing/tiny_detector.h"

namespace astray {
namespace {

constexpr size_t kFeatures = 3;
constexpr size_t kRows = 300;  // of an entity

// Two entities in time order with two odd stretches each, one not labelled; the second entity has a gap without values.
Dataset OddData() {
  Dataset data;
  data.feature_names = {"flow", "pressure", "temperature"};
  for (uint64_t entity = 0; entity < 2; ++entity) {
    const std::vector<float> rows = TinyRows(kRows, kFeatures, 70 + entity);
    data.values.insert(data.values.end(), rows.begin(), rows.end());
    data.entities.append(kRows, entity == 0 ? "a" : "b");
    for (size_t row = 0; row < kRows; ++row) {
      const bool odd = (row >= 100 && row < 120) || (row >= 200 && row < 206);
      if (odd) data.values[(entity * kRows + row) * kFeatures + (row < 150 ? 1 : 2)] += 30;
      if (entity == 1 && row >= 240 && row < 250) {
        std::fill_n(data.values.begin() + static_cast<ptrdiff_t>((entity * kRows + row) * kFeatures), kFeatures, NAN);
      }
      data.labels.push_back((row >= 98 && row < 120) || (row >= 270 && row < 275) ? 1 : 0);
    }
  }
  return data;
}

LabelledScores ScoresOf(const Detector& detector, const Dataset& data, bool time_ordered) {
  LabelledScoring scoring(&detector, data.feature_names, {.time_ordered = time_ordered});
  for (size_t row = 0; row < data.rows(); ++row) {
    EXPECT_TRUE(scoring.Add({.values = data.row(row), .label = data.labels[row], .entity = data.entities[row]}).ok());
  }
  return *scoring.Finish();
}

struct RowVerdict {
  Verdict verdict;
  uint32_t lead = 0;  // feature
};

// Verdicts row by row, each entity by itself; those of rows before the first full window are WarmingUp.
std::vector<RowVerdict> VerdictsOf(const Detector& detector, const Dataset& data) {
  std::vector<RowVerdict> verdicts(data.rows());
  for (size_t begin = 0; begin < data.rows(); begin += kRows) {
    ScoreResult result;
    const auto rows = std::span(data.values).subspan(begin * kFeatures, kRows * kFeatures);
    EXPECT_TRUE(detector.Score(rows, {}, &result).ok());
    for (size_t i = 0; i < result.verdicts.size(); ++i) {
      RowVerdict& row = verdicts[begin + i + detector.window() - 1];
      row.verdict = result.verdicts[i];
      if (row.verdict.contributions > 0) row.lead = result.contributions[i * result.contributions_stride].feature;
    }
  }
  return verdicts;
}

class EvaluationTest : public testing::Test {
 protected:
  EvaluationTest()
      : detector_(MakeTinyDetector({.window = 3})), data_(OddData()), verdicts_(VerdictsOf(*detector_, data_)) {
    scores_ = ScoresOf(*detector_, data_, /*time_ordered=*/true);
  }
  bool Flagged(size_t row) const {
    return verdicts_[row].verdict.state == Verdict::State::kScored && verdicts_[row].verdict.anomalous;
  }

  std::shared_ptr<const Detector> detector_;
  Dataset data_;
  std::vector<RowVerdict> verdicts_;
  LabelledScores scores_;
};

TEST_F(EvaluationTest, KeepsTheRowsThatHaveAScore) {
  size_t i = 0;
  for (uint32_t row = 0; row < data_.rows(); ++row) {
    if (verdicts_[row].verdict.state != Verdict::State::kScored) continue;
    ASSERT_LT(i, scores_.rows.size());
    EXPECT_EQ(scores_.rows[i], row);
    EXPECT_EQ(scores_.scores[i], verdicts_[row].verdict.score);
    EXPECT_EQ(scores_.labels[i], data_.labels[row]);
    ++i;
  }
  EXPECT_EQ(i, scores_.rows.size());
  EXPECT_EQ(i, 2 * (kRows - 2) - 8) << "in 8 windows everything is missing";
  EXPECT_EQ(scores_.begins, (std::vector<uint32_t>{0, kRows}));
  EXPECT_EQ(scores_.ScoredBegins(), (std::vector<uint32_t>{0, kRows - 2}));
}

TEST_F(EvaluationTest, RunsOfFlaggedRowsAreAlarmsTheStrongestFirst) {
  std::vector<FlaggedRun> runs;
  for (uint32_t row = 0; row < data_.rows(); ++row) {
    if (!Flagged(row)) continue;
    if (row == 0 || row == kRows || !Flagged(row - 1)) runs.push_back({.begin = row, .peak = row});
    runs.back().end = row + 1;
    if (verdicts_[row].verdict.score > verdicts_[runs.back().peak].verdict.score) runs.back().peak = row;
  }
  std::ranges::stable_sort(runs, [&](const FlaggedRun& a, const FlaggedRun& b) {
    return verdicts_[a.peak].verdict.score > verdicts_[b.peak].verdict.score;
  });
  ASSERT_GE(runs.size(), 4u);
  runs.resize(std::min(runs.size(), LabelledScores::kMaxStrongest));
  ASSERT_EQ(scores_.strongest.size(), runs.size());
  for (size_t i = 0; i < runs.size(); ++i) {
    EXPECT_EQ(scores_.strongest[i].begin, runs[i].begin) << i;
    EXPECT_EQ(scores_.strongest[i].end, runs[i].end) << i;
    EXPECT_EQ(scores_.strongest[i].peak, runs[i].peak) << i;
    EXPECT_EQ(scores_.strongest[i].verdict.score, verdicts_[runs[i].peak].verdict.score) << i;
    ASSERT_FALSE(scores_.strongest[i].contributions.empty());
    EXPECT_EQ(scores_.strongest[i].contributions.front().feature, verdicts_[runs[i].peak].lead) << i;
  }
}

TEST_F(EvaluationTest, LeadsAreTheFirstContributorsOfFlaggedRows) {
  std::vector<LeadCount> leads(kFeatures);
  for (size_t row = 0; row < data_.rows(); ++row) {
    if (!Flagged(row)) continue;
    ++(data_.labels[row] != 0 ? leads[verdicts_[row].lead].anomalous : leads[verdicts_[row].lead].normal);
  }
  ASSERT_EQ(scores_.leads.size(), kFeatures);
  for (size_t feature = 0; feature < kFeatures; ++feature) {
    EXPECT_EQ(scores_.leads[feature].anomalous, leads[feature].anomalous);
    EXPECT_EQ(scores_.leads[feature].normal, leads[feature].normal);
  }
  EXPECT_GT(leads[1].anomalous, 30u);
}

TEST_F(EvaluationTest, RangesAreCountedOverAllRowsOfEachEntity) {
  // Four labelled ranges: rows 98..119 and 270..274 of both entities.
  double delays = 0;
  uint32_t detected = 0;
  for (const size_t entity : {0, 1}) {
    for (const auto& [begin, end] : {std::pair(98, 120), std::pair(270, 275)}) {
      for (int row = begin; row < end; ++row) {
        if (!Flagged(entity * kRows + static_cast<size_t>(row))) continue;
        delays += row - begin;
        ++detected;
        break;
      }
    }
  }
  ASSERT_GE(detected, 2u);
  const v1::Evaluation evaluation = Evaluate(*detector_, scores_, /*time_ordered=*/true);
  EXPECT_TRUE(evaluation.time_ordered());
  EXPECT_EQ(evaluation.ranges(), 4u);
  EXPECT_EQ(evaluation.ranges_detected(), detected);
  EXPECT_DOUBLE_EQ(evaluation.detection_delay_rows_mean(), delays / detected);
  std::vector<float> flow;  // of the first entity
  for (size_t row = 0; row < kRows; ++row) flow.push_back(data_.row(row)[0]);
  EXPECT_EQ(evaluation.vus_pr_window(), DominantPeriod(flow));
  const uint32_t begins[] = {0, kRows - 2};
  EXPECT_DOUBLE_EQ(evaluation.vus_pr(), VusPr(scores_.scores, scores_.labels, evaluation.vus_pr_window(), begins));
  EXPECT_GT(evaluation.vus_pr(), 0.3);
}

// Hand-made scores of two entities, worked out by hand.
TEST_F(EvaluationTest, HindsightIsMeasuredByItsOwnScores) {
  auto calibration = Calibration::Create(std::vector<float>(99, 2.5f), /*false_positive_rate=*/0.05, {});
  ASSERT_TRUE(calibration.ok()) << calibration.status();
  const auto detector = MakeTinyDetector({.window = 3, .hindsight = HindsightModel{{}, *std::move(calibration)}});
  scores_.hindsight = {.scores = {0.2f, 0.5f, 1.5f, 3.0f, 2.0f, 0.3f},
                       .labels = {0, 1, 0, 1, 0, 0},
                       .rows = {0, 1, 2, 3, kRows, kRows + 1},
                       .begins = {0, 4}};
  const v1::Evaluation evaluation = Evaluate(*detector, scores_, /*time_ordered=*/true);
  ASSERT_TRUE(evaluation.has_hindsight());
  const v1::HindsightEvaluation& later = evaluation.hindsight();
  EXPECT_EQ(later.scored_rows(), 6u);
  EXPECT_EQ(later.flagged_rows(), 3u) << "3.0, 2.0 and 1.5";
  EXPECT_DOUBLE_EQ(later.auroc(), 6.0 / 8) << "of eight pairs, 0.5 is below 1.5 and 2.0";
  EXPECT_DOUBLE_EQ(later.average_precision(), 0.5 * 1 + 0.5 * 2 / 4);
  EXPECT_DOUBLE_EQ(later.precision_at_threshold(), 1.0 / 3);
  EXPECT_DOUBLE_EQ(later.recall_at_threshold(), 0.5);
  EXPECT_DOUBLE_EQ(later.f1_at_threshold(), 0.4);
  EXPECT_DOUBLE_EQ(later.best_f1(), 2.0 / 3) << "with 0.5 flagged, too, or 3.0 alone";
  EXPECT_DOUBLE_EQ(later.false_positive_rate(), 0.5);
  EXPECT_DOUBLE_EQ(later.threshold(), 2.5);
  const HindsightScores& made = scores_.hindsight;
  EXPECT_DOUBLE_EQ(later.vus_pr(), VusPr(made.scores, made.labels, evaluation.vus_pr_window(), made.begins));
  EXPECT_NE(later.vus_pr(), VusPr(made.scores, made.labels, evaluation.vus_pr_window())) << "two entities";
  // The others are of the rows as they came.
  const v1::Evaluation without = Evaluate(*detector_, scores_, /*time_ordered=*/true);
  EXPECT_FALSE(without.has_hindsight());
  EXPECT_EQ(evaluation.flagged_rows(), without.flagged_rows());
  EXPECT_EQ(evaluation.auroc(), without.auroc());
  EXPECT_EQ(evaluation.vus_pr(), without.vus_pr());
}

TEST_F(EvaluationTest, WithoutTimeThereAreNoRanges) {
  const v1::Evaluation evaluation = Evaluate(*detector_, scores_, /*time_ordered=*/false);
  EXPECT_FALSE(evaluation.time_ordered());
  EXPECT_TRUE(std::isnan(evaluation.vus_pr()));
  EXPECT_TRUE(std::isnan(evaluation.detection_delay_rows_mean()));
  EXPECT_EQ(evaluation.ranges(), 0u);
  const LabelledScores scores = ScoresOf(*detector_, data_, /*time_ordered=*/false);
  ASSERT_EQ(scores.strongest.size(), LabelledScores::kMaxStrongest);
  std::vector<float> strongest = scores.scores;
  std::ranges::sort(strongest, std::greater<>());
  for (size_t i = 0; i < scores.strongest.size(); ++i) {
    EXPECT_EQ(scores.strongest[i].end, scores.strongest[i].begin + 1);
    EXPECT_EQ(scores.strongest[i].verdict.score, strongest[i]);
  }
  EXPECT_TRUE(IsTimeOrdered(*detector_, /*has_times=*/false)) << "it judges windows";
  EXPECT_FALSE(IsTimeOrdered(*MakeTinyDetector({.window = 1}), /*has_times=*/false));
  EXPECT_TRUE(IsTimeOrdered(*MakeTinyDetector({.window = 1}), /*has_times=*/true));
}

}  // namespace
}  // namespace astray
