#include "engine/detect/alarm_tracker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "engine/base/random.h"

namespace astray {
namespace {

v1::Verdict Scored(float score, const std::vector<std::pair<std::string, float>>& blamed = {}) {
  v1::Verdict verdict;
  verdict.set_state(v1::Verdict::SCORED);
  verdict.set_score(score);
  verdict.set_anomalous(score > 1);
  for (const auto& [feature, share] : blamed) {
    v1::Contribution* contribution = verdict.add_contributions();
    contribution->set_feature(feature);
    contribution->set_share(share);
  }
  return verdict;
}

// One letter a row: - none, R raised, o ongoing, E ended.
std::string Alarms(AlarmTracker* tracker, const std::vector<float>& scores) {
  std::string letters;
  double time = 100;
  for (const float score : scores) {
    v1::Verdict verdict = Scored(score);
    tracker->Update(time++, &verdict);
    letters += verdict.has_alarm() ? "?RoE"[verdict.alarm().state()] : '-';
  }
  return letters;
}

TEST(AlarmTracker, ByDefaultARunOfAnomalousRowsIsOne) {
  const StreamPolicy policy;
  AlarmTracker tracker(&policy);
  EXPECT_EQ(Alarms(&tracker, {0.5, 2, 3, 1, 0.2, 4, 0.1}), "-RoE-RE");
}

TEST(AlarmTracker, KOfTheLastNRowsRaiseIt) {
  const StreamPolicy policy = {.raise_rows = 2, .of_rows = 4};
  AlarmTracker tracker(&policy);
  EXPECT_EQ(Alarms(&tracker, {2, 0, 0, 0, 2, 0, 0, 2, 0, 0, 0, 0}), "-------RE---");
}

TEST(AlarmTracker, HysteresisHoldsItOverAShortCalm) {
  const StreamPolicy policy = {.clear_below = 0.5f, .clear_rows = 3};
  AlarmTracker tracker(&policy);
  EXPECT_EQ(Alarms(&tracker, {2, 0.9f, 0.4f, 0.4f, 0.6f, 0.4f, 0.4f, 0.4f, 0.4f}), "RooooooE-");
}

TEST(AlarmTracker, SmoothingLooksAtTheMean) {
  const StreamPolicy policy = {.smoothing_rows = 4};
  AlarmTracker tracker(&policy);
  EXPECT_EQ(Alarms(&tracker, {0, 0, 0, 3.9f, 0, 0.2f, 0, 0}), "-----RoE") << "means .975, .975, 1.025, 1.025, .05";
}

TEST(AlarmTracker, ItHasAStartAnEndAndCauses) {
  const StreamPolicy policy = {.raise_rows = 2, .of_rows = 3};
  AlarmTracker tracker(&policy);
  std::vector<v1::Verdict> verdicts = {Scored(0.5), Scored(2, {{"flow", 1.0f}}),
                                       Scored(0.5), Scored(6, {{"flow", 0.25f}, {"speed", 0.75f}}),
                                       Scored(0.1), Scored(0.1)};
  double time = 10;
  for (v1::Verdict& verdict : verdicts) tracker.Update(time++, &verdict);
  EXPECT_FALSE(verdicts[1].has_alarm());
  ASSERT_EQ(verdicts[3].alarm().state(), v1::Alarm::RAISED);
  EXPECT_EQ(verdicts[3].alarm().start_unix_seconds(), 11);
  EXPECT_EQ(verdicts[3].alarm().rows(), 3u);
  EXPECT_EQ(verdicts[3].alarm().anomalous_rows(), 2u);
  const v1::Alarm& last = verdicts[4].alarm();
  ASSERT_EQ(last.state(), v1::Alarm::ENDED);
  EXPECT_EQ(last.end_unix_seconds(), 14);
  EXPECT_EQ(last.rows(), 4u);
  EXPECT_EQ(last.peak_score(), 6);
  EXPECT_EQ(last.total_score(), 8);
  ASSERT_EQ(last.causes_size(), 2);  // (6 x .75) / 8 and (2 + 6 x .25) / 8
  EXPECT_EQ(last.causes(0).feature(), "speed");
  EXPECT_FLOAT_EQ(last.causes(0).share(), 0.5625f);
  EXPECT_EQ(last.causes(1).feature(), "flow");
  EXPECT_FLOAT_EQ(last.causes(1).share(), 0.4375f);
  EXPECT_FALSE(verdicts[5].has_alarm());
}

TEST(AlarmTracker, RowsWithoutAScoreChangeNothing) {
  const StreamPolicy policy = {.clear_rows = 2};
  AlarmTracker tracker(&policy);
  EXPECT_EQ(Alarms(&tracker, {2, 0.1f}), "Ro");
  v1::Verdict missing;
  missing.set_state(v1::Verdict::ALL_MISSING);
  tracker.Update(102, &missing);
  EXPECT_FALSE(missing.has_alarm());
  EXPECT_EQ(Alarms(&tracker, {0.1f}), "E");
}

TEST(AlarmTracker, MemoryIsBoundedHoweverManyFeaturesAreToBlame) {
  const StreamPolicy policy;
  AlarmTracker tracker(&policy);
  v1::Verdict verdict;
  for (int i = 0; i < 2000; ++i) {
    verdict = Scored(2, {{"feature " + std::to_string(i), 1.0f}});
    tracker.Update(0, &verdict);
  }
  EXPECT_EQ(verdict.alarm().causes_size(), AlarmTracker::kMaxCauses);
  EXPECT_EQ(verdict.alarm().rows(), 2000u);
  EXPECT_LT(verdict.ByteSizeLong(), 1000u);
}

// What a client does that comes back: the last rows again, and the last alarm.
TEST(AlarmTracker, GoesOnFromTheLastRowsAndTheLastAlarm) {
  const StreamPolicy policy = {
      .smoothing_rows = 3, .raise_rows = 2, .of_rows = 5, .clear_below = 0.7f, .clear_rows = 4};
  Random random(3, 0);
  std::vector<float> scores;
  for (int i = 0; i < 400; ++i)
    scores.push_back(static_cast<float>(2.2 * random.Uniform() * random.Uniform() * (i / 50 % 2 + 0.4)));
  AlarmTracker whole(&policy);
  std::vector<v1::Verdict> expected;
  for (const float score : scores) {
    expected.push_back(Scored(score, {{"flow", 0.5f}}));
    whole.Update(0, &expected.back());
  }
  EXPECT_GT(std::ranges::count_if(expected, [](const auto& v) { return v.alarm().state() == v1::Alarm::RAISED; }), 3);
  for (size_t cut = 1; cut < scores.size(); cut += 7) {
    AlarmTracker resumed(&policy);
    for (size_t i = cut - std::min(cut, std::max<size_t>(1, policy.alarm_memory_rows())); i < cut; ++i) {
      resumed.Observe(0, Scored(scores[i], {{"flow", 0.5f}}));
    }
    resumed.Restore(expected[cut - 1].alarm());
    for (size_t i = cut; i < scores.size(); ++i) {
      v1::Verdict verdict = Scored(scores[i], {{"flow", 0.5f}});
      resumed.Update(0, &verdict);
      ASSERT_EQ(verdict.alarm().state(), expected[i].alarm().state()) << "cut " << cut << ", row " << i;
      ASSERT_EQ(verdict.alarm().rows(), expected[i].alarm().rows());
      ASSERT_NEAR(verdict.alarm().total_score(), expected[i].alarm().total_score(), 1e-6);
    }
  }
}

}  // namespace
}  // namespace astray
