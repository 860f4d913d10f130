// What a call can ask for beside verdicts: rows filled in, rows passed through the network, score functions, codes.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "engine/detect/detector.h"
#include "engine/nn/executor.h"
#include "tests/engine/detect/detector_scoring.h"
#include "tests/engine/detect/small_detector.h"

namespace astray {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

TEST(Detector, ImputesWhatIsMissingAndLeavesTheRestAsItCame) {
  const auto detector = MakeSmallDetector({.window = 2});
  std::vector<float> rows = SmallRows(40, 9);
  rows[10 * 3 + 1] = kNaN;
  const ScoreResult result = Score(*detector, rows, {.reconstruction = true, .imputation = true});
  for (size_t vector = 0; vector < 39; ++vector) {
    const bool touched = vector == 9 || vector == 10;  // row 10 is the newest of one, the oldest of the other
    EXPECT_EQ(result.imputations[vector].iterations > 0, touched);
    for (size_t k = 0; k < 3; ++k) {
      const float row = rows[(vector + 1) * 3 + k], imputed = result.imputed[vector * 3 + k];
      if (std::isnan(row)) {
        EXPECT_TRUE(std::isfinite(imputed));
      } else {
        EXPECT_TRUE(SameBits(imputed, row));
      }
    }
  }
  // What the network makes of the completed vector is what it was completed with.
  std::vector<float> completed(rows.begin() + 9 * 3, rows.begin() + 11 * 3);
  completed[4] = result.imputed[9 * 3 + 1];
  const ScoreResult again = Score(*detector, completed, {.reconstruction = true});
  const double scale = detector->model().pipeline.scaler().state().scale(1);
  EXPECT_NEAR(again.reconstruction[1], completed[4], 2e-3 * scale);
}

TEST(Detector, PassesARowThroughTheNetworkAsOftenAsAsked) {
  const auto detector = MakeSmallDetector({.window = 1});
  const std::vector<float> rows = SmallRows(20, 9);
  const ScoreResult once = Score(*detector, rows, {.reconstruction = true, .purification_passes = 1});
  const ScoreResult thrice = Score(*detector, rows, {.purification_passes = 3});
  std::vector<float> by_hand = once.reconstruction;
  for (int pass = 0; pass < 2; ++pass) by_hand = Score(*detector, by_hand, {.reconstruction = true}).reconstruction;
  for (size_t k = 0; k < rows.size(); ++k) {
    EXPECT_TRUE(SameBits(once.purified[k], once.reconstruction[k])) << "nothing is missing";
    // By hand, a row is rounded to its units between the passes.
    const double scale = detector->model().pipeline.scaler().state().scale(static_cast<int>(k % 3));
    EXPECT_NEAR(thrice.purified[k], by_hand[k], 5e-3 * scale);
  }
}

TEST(Detector, EstimatesTheScoreFunctionOfAGaussianModel) {
  const auto detector = MakeSmallDetector({.window = 2, .noise_level = 0.5f});
  std::vector<float> rows = SmallRows(20, 9);
  rows[5 * 3 + 2] = kNaN;
  const ScoreResult result = Score(*detector, rows, {.reconstruction = true, .score_function = true});
  const v1::ScalerState& scaler = detector->model().pipeline.scaler().state();
  for (size_t k = 0; k < 19 * 3; ++k) {
    if (k == 4 * 3 + 2) {
      EXPECT_TRUE(std::isnan(result.score_function[k]));
      continue;
    }
    const double difference = (double{result.reconstruction[k]} - rows[k + 3]) / scaler.scale(static_cast<int>(k % 3));
    EXPECT_NEAR(result.score_function[k], difference / 0.25, 0.02 * (1 + std::abs(difference)));
  }
  ScoreResult none;
  const auto without = MakeSmallDetector({.window = 2});
  EXPECT_EQ(without->Score(rows, {.score_function = true}, &none),
            absl::FailedPreconditionError("score_function: expected a model whose only corruption is gaussian with a "
                                          "fixed sigma, got 'pump' with 0 corruptions, the first: none"));
}

TEST(Detector, TheCodeIsTheNetworksOwn) {
  const auto detector = MakeSmallDetector();
  const std::vector<float> rows = SmallRows(300, 4);
  const ScoreResult result = Score(*detector, rows, {.code = true});
  Batch batch;
  ASSERT_TRUE(detector->model().pipeline.Apply(rows, &batch).ok());
  const auto executor = Executor::Create(detector->model().executors.network());
  std::vector<float> output(batch.values.size()), code(batch.vectors * detector->code_size());
  ASSERT_TRUE((*executor)->Forward(batch.vectors, batch.values, output, code).ok());
  EXPECT_EQ(result.code, code);
  EXPECT_TRUE(Score(*detector, rows).code.empty()) << "only where asked for";
}

}  // namespace
}  // namespace astray
