#include "server/joint_scoring.h"

#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "server/waiting_rows.h"
#include "tests/testing/tiny_detector.h"

namespace astray {
namespace {

class JointScoringTest : public testing::TestWithParam<uint32_t> {};

TEST_P(JointScoringTest, PartsHaveTheVerdictsThatTheyHaveAlone) {
  const auto detector = MakeTinyDetector({.window = GetParam()});
  const ScoreOptions usual, explained = {.explain_all = true};
  std::vector<std::vector<float>> rows;
  std::vector<ScoringPart> parts;
  for (const size_t verdicts : {1, 3, 8, 1, 30, 2, 2}) {
    rows.push_back(TinyRows(verdicts + GetParam() - 1, 3, 10 + rows.size()));
    parts.push_back({.rows = rows.back(), .verdicts = verdicts, .options = parts.size() < 6 ? &usual : &explained});
  }
  JointScoring scoring;
  std::vector<size_t> runs;
  for (size_t begin = 0; begin < parts.size();) {
    absl::Status status;
    const size_t count = scoring.ScoreFirst(*detector, std::span(parts).subspan(begin), &status);
    ASSERT_TRUE(status.ok()) << status;
    runs.push_back(count);
    size_t first = 0;
    for (size_t i = begin; i < begin + count; ++i) {
      ScoreResult alone;
      ASSERT_TRUE(detector->Score(rows[i], *parts[i].options, &alone).ok());
      ASSERT_EQ(alone.verdicts.size(), parts[i].verdicts);
      for (size_t k = 0; k < parts[i].verdicts; ++k) {
        const Verdict& got = scoring.result().verdicts[first + k];
        EXPECT_EQ(got.error, alone.verdicts[k].error) << "part " << i << " verdict " << k;
        EXPECT_EQ(got.p_value, alone.verdicts[k].p_value);
        EXPECT_EQ(got.contributions, alone.verdicts[k].contributions);
      }
      first += parts[i].verdicts;
    }
    EXPECT_EQ(first, scoring.result().verdicts.size());
    begin += count;
  }
  // Other options are another run; so are many windows, which are not copied.
  EXPECT_EQ(runs, GetParam() == 1 ? std::vector<size_t>({6, 1}) : std::vector<size_t>({4, 1, 1, 1}));
}
INSTANTIATE_TEST_SUITE_P(Windows, JointScoringTest, testing::Values(1u, 4u));

TEST(WaitingRows, RefusesWhatExceedsTheBoundAndSaysHowMuchWaits) {
  WaitingRows waiting(10);
  EXPECT_TRUE(waiting.Reserve(8).ok());
  EXPECT_EQ(waiting.Reserve(3).message(), "the queue is full: 8 of 10 rows wait, this request has 3; retry later");
  EXPECT_TRUE(waiting.Reserve(2).ok());
  waiting.Add(5);  // of those that bound themselves
  EXPECT_EQ(waiting.Reserve(1).code(), absl::StatusCode::kResourceExhausted);
  waiting.Remove(15);
  EXPECT_TRUE(waiting.Reserve(10).ok());
  EXPECT_EQ(waiting.rows(), 10u);
}

TEST(JointScoring, GoesOnWhileOneOfItsCallsIsWanted) {
  const auto detector = MakeTinyDetector();
  std::vector<float> rows = TinyRows(2, 3, 1);
  rows[0] = rows[3] = 1e5f;
  const ScoreOptions options = {.counterfactual = 2};
  const std::atomic<bool> gone = true;
  std::vector<ScoringPart> parts(2, {.rows = std::span(rows).first(3), .verdicts = 1, .options = &options});
  JointScoring scoring;
  absl::Status status;
  parts[0].cancelled = &gone;
  EXPECT_EQ(scoring.ScoreFirst(*detector, parts, &status), 2u);
  EXPECT_TRUE(status.ok()) << status;
  parts[1].deadline = absl::Now() - absl::Seconds(1);
  EXPECT_EQ(scoring.ScoreFirst(*detector, parts, &status), 2u);
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << "the first one's";
  EXPECT_EQ(scoring.ScoreFirst(*detector, std::span(parts).subspan(1), &status), 1u);
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace astray
