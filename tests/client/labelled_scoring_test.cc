#include "client/labelled_scoring.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/random.h"
#include "tests/testing/tiny_detector.h"

namespace astray {
namespace {

using testing::ElementsAre;

constexpr size_t kFeatures = 3;

struct Machine {
  std::string name;
  std::vector<float> values;
  std::vector<uint8_t> labels;
  std::vector<std::string> culprits;
  std::string segment = {};  // of all its rows

  size_t rows() const { return labels.size(); }
};

Machine MakeMachine(const std::string& name, size_t rows, uint64_t seed) {
  Machine machine = {.name = name, .values = TinyRows(rows, kFeatures, seed), .labels = {}, .culprits = {}};
  for (size_t row = 0; row < rows; ++row) {
    const bool odd = row % 50 >= 40;
    machine.labels.push_back(row % 50 >= 42 ? 1 : 0);
    machine.culprits.emplace_back(row % 3 == 0 ? "" : "temperature;pressure");
    if (odd) machine.values[row * kFeatures + (row % 4 == 0 ? 0 : 1)] += static_cast<float>(3 + row % 50);
    if (row % 97 < 3) std::fill_n(&machine.values[row * kFeatures], kFeatures, NAN);
  }
  return machine;
}

// Rows of the machines, `turns` saying whose comes next.
LabelledScores ScoresOf(const Detector& detector, const std::vector<Machine>& machines,
                        const std::vector<size_t>& turns, size_t group_rows) {
  LabelledScoring scoring(&detector, {"flow", "pressure", "temperature"},
                          {.time_ordered = true, .named = true, .has_culprits = true, .group_rows = group_rows});
  std::vector<size_t> next(machines.size());
  for (const size_t turn : turns) {
    const Machine& machine = machines[turn];
    const size_t row = next[turn]++;
    EXPECT_TRUE(scoring
                    .Add({.values = std::span(machine.values).subspan(row * kFeatures, kFeatures),
                          .label = machine.labels[row],
                          .entity = machine.name,
                          .segment = machine.segment,
                          .culprits = machine.culprits[row],
                          .name = absl::StrCat(machine.name, "/", row)})
                    .ok());
  }
  auto scores = scoring.Finish();
  EXPECT_TRUE(scores.ok()) << scores.status();
  return *std::move(scores);
}

// Judges rows in hindsight at a threshold of 0.5 and, of the segment "loud", of 8.
std::shared_ptr<const Detector> MakeLaterDetector(uint32_t window) {
  CalibrationSamples samples;
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(samples.Add(0.5f, "quiet", 0).ok());
    EXPECT_TRUE(samples.Add(8, "loud", 0).ok());
  }
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(samples.Add(0.5f, "", 0).ok());
  auto calibration = Calibration::Create(std::move(samples), /*false_positive_rate=*/0.1, {});
  EXPECT_TRUE(calibration.ok()) << calibration.status();
  return MakeTinyDetector({.window = window, .hindsight = HindsightModel{.scale = {}, .calibration = *calibration}});
}

struct LaterError {
  size_t row = 0;
  double error = 0;
};

// Of the kind that a tiny detector has: the mean of the errors of the windows whose middle is at most a window away.
std::vector<LaterError> LaterErrors(const Detector& detector, const Machine& machine) {
  ScoreResult result;
  EXPECT_TRUE(detector.Score(machine.values, {}, &result).ok());
  std::vector<LaterError> errors;
  for (size_t row = 0; row < machine.rows() && !result.verdicts.empty(); ++row) {
    double sum = 0, windows = 0;
    for (size_t first = 0; first < result.verdicts.size(); ++first) {
      const size_t middle = first + detector.window() / 2;
      if (std::max(row, middle) - std::min(row, middle) > detector.window()) continue;
      if (result.verdicts[first].state != Verdict::State::kScored) continue;
      sum += result.verdicts[first].error;
      windows += 1;
    }
    if (windows > 0) errors.push_back({.row = row, .error = sum / windows});
  }
  return errors;
}

void ExpectSame(const LabelledScores& a, const LabelledScores& b) {
  EXPECT_EQ(a.scores, b.scores);
  EXPECT_EQ(a.labels, b.labels);
  EXPECT_EQ(a.rows, b.rows);
  EXPECT_EQ(a.row_labels, b.row_labels);
  EXPECT_EQ(a.hindsight.scores, b.hindsight.scores);
  EXPECT_EQ(a.hindsight.labels, b.hindsight.labels);
  EXPECT_EQ(a.hindsight.rows, b.hindsight.rows);
  EXPECT_EQ(a.hindsight.begins, b.hindsight.begins);
  EXPECT_EQ(a.begins, b.begins);
  EXPECT_EQ(a.entities, b.entities);
  EXPECT_THAT(a.channel, testing::Pointwise(testing::NanSensitiveFloatEq(), b.channel));
  ASSERT_EQ(a.names.size(), b.names.size());
  for (size_t row = 0; row < a.names.size(); ++row) ASSERT_EQ(a.names[row], b.names[row]);
  EXPECT_EQ(std::vector({a.blamed, a.top1, a.top3, a.repaired_top1}),
            std::vector({b.blamed, b.top1, b.top3, b.repaired_top1}));
  for (size_t k = 0; k < PValueCounts::kPoints; ++k) EXPECT_EQ(a.p_values.AtMost(k), b.p_values.AtMost(k));
  for (size_t f = 0; f < kFeatures; ++f) EXPECT_EQ(a.leads[f].anomalous, b.leads[f].anomalous);
  ASSERT_EQ(a.strongest.size(), b.strongest.size());
  for (size_t i = 0; i < a.strongest.size(); ++i) {
    EXPECT_EQ(a.strongest[i].entity, b.strongest[i].entity);
    EXPECT_EQ(a.strongest[i].begin, b.strongest[i].begin);
    EXPECT_EQ(a.strongest[i].end, b.strongest[i].end);
    EXPECT_EQ(a.strongest[i].peak, b.strongest[i].peak);
    EXPECT_EQ(a.strongest[i].verdict.score, b.strongest[i].verdict.score);
  }
}

// In what order rows come, how many wait and how they are cut: each machine's scores are those of its rows alone.
TEST(LabelledScoring, ScoresEachEntityByItselfInWhateverOrderRowsCome) {
  for (const uint32_t window : {1u, 5u}) {
    const auto detector = MakeTinyDetector({.window = window});
    const std::vector<Machine> machines = {MakeMachine("a", 300, 1), MakeMachine("b", 3, 2), MakeMachine("c", 777, 3),
                                           MakeMachine("d", 120, 4)};
    std::vector<size_t> grouped;
    for (size_t i = 0; i < machines.size(); ++i) grouped.insert(grouped.end(), machines[i].rows(), i);
    const LabelledScores expected = ScoresOf(*detector, machines, grouped, 100'000);

    size_t at = 0, begin = 0;
    for (size_t i = 0; i < machines.size(); ++i) {
      EXPECT_EQ(expected.begins[i], begin);
      EXPECT_EQ(expected.entities[i], machines[i].name);
      ScoreResult result;
      ASSERT_TRUE(detector->Score(machines[i].values, {}, &result).ok());
      for (size_t v = 0; v < result.verdicts.size(); ++v) {
        if (result.verdicts[v].state != Verdict::State::kScored) continue;
        ASSERT_LT(at, expected.scores.size());
        const size_t row = v + window - 1;
        EXPECT_EQ(expected.scores[at], result.verdicts[v].score);
        EXPECT_EQ(expected.rows[at], begin + row);
        EXPECT_EQ(expected.labels[at], machines[i].labels[row]);
        EXPECT_EQ(expected.names[begin + row], absl::StrCat(machines[i].name, "/", row));
        ++at;
      }
      begin += machines[i].rows();
    }
    EXPECT_EQ(at, expected.scores.size());
    EXPECT_EQ(expected.row_labels.size(), begin);
    EXPECT_EQ(expected.strongest.size(), LabelledScores::kMaxStrongest);

    Random random(9);
    std::vector<size_t> shuffled = grouped;
    for (size_t i = shuffled.size() - 1; i > 4; --i) std::swap(shuffled[i], shuffled[4 + random.UniformInt(i - 3)]);
    std::vector<size_t> in_turn;  // first rows in the same order
    for (size_t row = 0; row < 777; ++row) {
      for (size_t i = 0; i < machines.size(); ++i) {
        if (row < machines[i].rows()) in_turn.push_back(i);
      }
    }
    for (const size_t group_rows : {1, 7, 100, 100'000}) {
      ExpectSame(ScoresOf(*detector, machines, grouped, group_rows), expected);
      ExpectSame(ScoresOf(*detector, machines, in_turn, group_rows), expected);
    }
    ExpectSame(ScoresOf(*detector, machines, shuffled, 7), ScoresOf(*detector, machines, shuffled, 100'000));
  }
}

TEST(LabelledScoring, ManySlicesAreOneStream) {
  const auto detector = MakeTinyDetector({.window = 4});
  const Machine machine = MakeMachine("", 3 * LabelledScoring::kSliceRows + 100, 6);
  const LabelledScores scores = ScoresOf(*detector, {machine}, std::vector<size_t>(machine.rows(), 0), 10'000);
  EXPECT_TRUE(scores.entities.empty());
  EXPECT_THAT(scores.begins, ElementsAre(0));
  ScoreResult result;
  ASSERT_TRUE(detector->Score(machine.values, {}, &result).ok());
  size_t at = 0;
  for (const Verdict& verdict : result.verdicts) {
    if (verdict.state != Verdict::State::kScored) continue;
    ASSERT_EQ(scores.scores[at++], verdict.score);
  }
  EXPECT_EQ(at, scores.scores.size());
}

TEST(LabelledScoring, InHindsightARowsErrorIsTheMeanOfTheWindowsAround) {
  constexpr size_t kWindow = 5;
  const auto detector = MakeLaterDetector(kWindow);
  std::vector<Machine> machines = {MakeMachine("a", 300, 1), MakeMachine("short", kWindow - 1, 2),
                                   MakeMachine("b", 120, 3), MakeMachine("shortest", kWindow, 4)};
  std::fill_n(&machines[0].values[110 * kFeatures], 30 * kFeatures, NAN);
  for (uint8_t& label : machines[2].labels) label = 1 - label;  // others than those of the same rows of a
  std::vector<size_t> turns;
  for (size_t row = 0; row < 300; ++row) {
    for (size_t i = 0; i < machines.size(); ++i) {
      if (row < machines[i].rows()) turns.push_back(i);
    }
  }
  for (const size_t group_rows : {3, 64, 100'000}) {
    const LabelledScores scores = ScoresOf(*detector, machines, turns, group_rows);
    const HindsightScores& later = scores.hindsight;
    size_t at = 0;
    std::vector<uint32_t> begins;
    for (size_t i = 0; i < machines.size(); ++i) {
      const std::vector<LaterError> expected = LaterErrors(*detector, machines[i]);
      if (!expected.empty()) begins.push_back(static_cast<uint32_t>(at));
      for (const auto& [row, error] : expected) {
        ASSERT_LT(at, later.scores.size());
        EXPECT_NEAR(later.scores[at], error / 0.5, 1e-6 * error) << machines[i].name << " " << row;
        EXPECT_EQ(later.rows[at], scores.begins[i] + row);
        EXPECT_EQ(later.labels[at], machines[i].labels[row]);
        EXPECT_EQ(scores.names[later.rows[at]], absl::StrCat(machines[i].name, "/", row));
        ++at;
      }
    }
    EXPECT_EQ(at, later.scores.size());
    EXPECT_EQ(at, 300 - (30 - (kWindow - 1) - 2 * kWindow) + 120 + kWindow)
        << "none of too short a one, nor far in a gap";
    EXPECT_EQ(later.begins, begins);
    EXPECT_EQ(begins.size(), 3u);
  }
}

TEST(LabelledScoring, InHindsightManySlicesAreOneStream) {
  const auto detector = MakeLaterDetector(4);
  const Machine machine = MakeMachine("", LabelledScoring::kSliceRows + 100, 6);
  const LabelledScores scores = ScoresOf(*detector, {machine}, std::vector<size_t>(machine.rows(), 0), 10'000);
  const std::vector<LaterError> expected = LaterErrors(*detector, machine);
  EXPECT_THAT(scores.hindsight.begins, ElementsAre(0));
  ASSERT_EQ(scores.hindsight.scores.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(scores.hindsight.rows[i], expected[i].row);
    ASSERT_NEAR(scores.hindsight.scores[i], expected[i].error / 0.5, 1e-6 * expected[i].error);
  }
}

TEST(LabelledScoring, InHindsightASegmentHasItsOwnThreshold) {
  const auto detector = MakeLaterDetector(3);
  std::vector<Machine> machines = {MakeMachine("a", 90, 1), MakeMachine("b", 90, 1), MakeMachine("c", 90, 1)};
  machines[1].segment = "loud";
  machines[2].segment = "never seen";
  std::vector<size_t> turns;
  for (size_t i = 0; i < 270; ++i) turns.push_back(i % 3);
  const HindsightScores later = ScoresOf(*detector, machines, turns, 50).hindsight;
  ASSERT_EQ(later.begins.size(), 3u);
  const size_t scored = later.begins[1];
  ASSERT_GT(scored, 80u);
  ASSERT_EQ(later.scores.size(), 3 * scored);
  for (size_t i = 0; i < scored; ++i) {
    EXPECT_FLOAT_EQ(later.scores[scored + i], later.scores[i] / 16) << i;
    EXPECT_EQ(later.scores[2 * scored + i], later.scores[i]) << i;
  }
}

TEST(LabelledScoring, WithoutAModelOfItThereIsNoHindsight) {
  const auto detector = MakeTinyDetector({.window = 4});
  const Machine machine = MakeMachine("a", 200, 1);
  const LabelledScores scores = ScoresOf(*detector, {machine}, std::vector<size_t>(machine.rows(), 0), 100);
  EXPECT_FALSE(scores.scores.empty());
  EXPECT_TRUE(scores.hindsight.scores.empty());
  EXPECT_TRUE(scores.hindsight.begins.empty());
}

TEST(LabelledScoring, CulpritsAreThoseOfFlaggedAnomalousRowsByShareAndByRepair) {
  const auto detector = MakeTinyDetector({.window = 2});
  const Machine machine = MakeMachine("a", 3000, 5);  // more blamed rows than are repaired at a time
  const LabelledScores scores = ScoresOf(*detector, {machine}, std::vector<size_t>(machine.rows(), 0), 1000);
  const auto names = [](const Contribution& contribution) { return contribution.feature != 0; };
  ScoreResult result, repaired;
  ASSERT_TRUE(detector->Score(machine.values, {}, &result).ok());
  ASSERT_TRUE(detector->Score(machine.values, {.top_contributors = 1, .counterfactual = 1}, &repaired).ok());
  uint64_t blamed = 0, top1 = 0, top3 = 0, by_repair = 0;
  for (size_t i = 0; i < result.verdicts.size(); ++i) {
    const size_t row = i + 1;
    const Verdict& verdict = result.verdicts[i];
    if (verdict.state != Verdict::State::kScored || !verdict.anomalous || machine.labels[row] == 0) continue;
    if (machine.culprits[row].empty()) continue;
    const auto named = std::span(result.contributions).subspan(i * result.contributions_stride, verdict.contributions);
    ++blamed;
    top1 += names(named[0]) ? 1 : 0;
    top3 += std::ranges::any_of(named, names) ? 1 : 0;
    by_repair += names(repaired.contributions[i * repaired.contributions_stride]) ? 1 : 0;
  }
  EXPECT_GT(blamed, 256u);
  EXPECT_EQ(scores.blamed, blamed);
  EXPECT_EQ(scores.top1, top1);
  EXPECT_EQ(scores.top3, top3);
  EXPECT_EQ(scores.repaired_top1, by_repair);
}

TEST(LabelledScoring, WithoutRowsThereIsNothingToMeasure) {
  const auto detector = MakeTinyDetector();
  LabelledScoring scoring(detector.get(), {"flow", "pressure", "temperature"}, {});
  EXPECT_EQ(scoring.Finish().status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(PValueCounts, CountWhatIsAtMostAlpha) {
  PValueCounts counts(1 / 401.0);
  std::vector<double> p_values;
  for (int i = 1; i <= 401; i += 2) p_values.push_back(i / 401.0);
  for (const double p : p_values) counts.Add(p);
  EXPECT_EQ(counts.rows(), p_values.size());
  EXPECT_DOUBLE_EQ(counts.alpha(0), 1 / 401.0);
  EXPECT_EQ(counts.AtMost(0), 1u) << "one that is equal counts";
  EXPECT_EQ(counts.alpha(PValueCounts::kPoints - 1), 1);
  for (size_t k = 1; k < PValueCounts::kPoints; ++k) {
    const auto expected = std::ranges::count_if(p_values, [&](double p) { return p <= counts.alpha(k); });
    EXPECT_EQ(counts.AtMost(k), static_cast<uint64_t>(expected)) << counts.alpha(k);
  }
}

TEST(RowNames, AreCutAndComeBack) {
  RowNames names;
  for (const std::string& name : {std::string("one"), std::string(), std::string(1000, 'x')}) names.Add(name);
  EXPECT_EQ(names[0], "one");
  EXPECT_EQ(names[1], "");
  EXPECT_EQ(names[2], std::string(RowNames::kMaxBytes, 'x'));
}

}  // namespace
}  // namespace astray
