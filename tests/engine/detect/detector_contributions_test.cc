// Which features a verdict names, and what it says of them.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "engine/detect/detector.h"
#include "tests/engine/detect/detector_scoring.h"
#include "tests/engine/detect/small_detector.h"

namespace astray {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

TEST(Detector, AFeatureWhoseDeviationCountsAsNoneIsNotToBlame) {
  const auto detector = MakeSmallDetector({.window = 1, .rules = "rule { feature: 'temperature' direction: BELOW }"});
  std::vector<float> rows = SmallRows(1, 6);
  const ScoreOptions options = {.explain_all = true, .reconstruction = true};
  rows[2] = 9;
  const ScoreResult above = Score(*detector, rows, options);
  for (size_t k = 0; k < above.verdicts[0].contributions; ++k) EXPECT_NE(above.contributions[k].feature, 2u);
  EXPECT_NE(above.reconstruction[2], 9) << "what is expected stays what it is";
  rows[2] = -9;
  const ScoreResult below = Score(*detector, rows, options);
  EXPECT_EQ(below.contributions[0].feature, 2u);
  EXPECT_GT(below.verdicts[0].error, above.verdicts[0].error);
}

TEST(Detector, NamesTheFeatureThatWentAstray) {
  const auto detector = MakeSmallDetector({.window = 3});
  std::vector<float> rows = SmallRows(20, 6);
  rows[10 * 3 + 2] = 9.0f;
  const ScoreResult result = Score(*detector, rows);
  for (const size_t vector : {8u, 9u, 10u}) {  // the vectors whose window covers row 10
    const Verdict& verdict = result.verdicts[vector];
    EXPECT_TRUE(verdict.anomalous);
    EXPECT_EQ(verdict.p_value, detector->calibration().resolution());
    ASSERT_GE(verdict.contributions, 1u);
    const Contribution& first = result.contributions[vector * result.contributions_stride];
    EXPECT_EQ(first.feature, 2u);
    EXPECT_GT(first.share, 0.9f);
    EXPECT_EQ(first.observed, rows[(vector + 2) * 3 + 2]) << "of the newest row";
  }
}

TEST(Detector, SharesAreSortedAndAddUpToOne) {
  const auto detector = MakeSmallDetector();
  const ScoreResult result =
      Score(*detector, SmallRows(100, 7), {.top_contributors = 99, .explain_all = true, .reconstruction = true});
  ASSERT_EQ(result.contributions_stride, 3u);
  for (size_t i = 0; i < result.verdicts.size(); ++i) {
    const Contribution* contributions = &result.contributions[i * 3];
    ASSERT_EQ(result.verdicts[i].contributions, 3u);
    EXPECT_NEAR(contributions[0].share + contributions[1].share + contributions[2].share, 1, 1e-6);
    EXPECT_GE(contributions[0].share, contributions[1].share);
    EXPECT_GE(contributions[1].share, contributions[2].share);
    for (size_t k = 0; k < 3; ++k) {
      EXPECT_EQ(contributions[k].expected, result.reconstruction[i * 3 + contributions[k].feature]);
    }
  }
  const ScoreResult top = Score(*detector, SmallRows(100, 7), {.top_contributors = 1, .explain_all = true});
  for (size_t i = 0; i < top.verdicts.size(); ++i) {
    EXPECT_TRUE(SameBits(top.contributions[i], result.contributions[i * 3]));
  }
}

TEST(Detector, ExplainsNormalVerdictsOnlyWhenAsked) {
  const auto detector = MakeSmallDetector();
  std::vector<float> rows = SmallRows(40, 8);
  rows[60] = 1e6f;
  const ScoreResult result = Score(*detector, rows);
  EXPECT_TRUE(result.reconstruction.empty());
  size_t normal = 0;
  for (const Verdict& verdict : result.verdicts) {
    EXPECT_EQ(verdict.contributions > 0, verdict.anomalous);
    normal += verdict.anomalous ? 0 : 1;
  }
  EXPECT_GT(normal, 0u);
  const ScoreResult none = Score(*detector, rows, {.top_contributors = 0, .explain_all = true});
  EXPECT_TRUE(none.contributions.empty());
}

TEST(Detector, AMissingNewestValueIsObservedAsNaN) {
  const auto detector = MakeSmallDetector({.window = 2});
  std::vector<float> rows = SmallRows(2, 8);
  rows[3] = kNaN;  // flow of the newest row; the row before has it
  const ScoreResult result = Score(*detector, rows, {.explain_all = true});
  bool found = false;
  for (size_t k = 0; k < result.verdicts[0].contributions; ++k) {
    if (result.contributions[k].feature != 0) continue;
    found = true;
    EXPECT_TRUE(std::isnan(result.contributions[k].observed));
    EXPECT_TRUE(std::isfinite(result.contributions[k].expected));
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace astray
