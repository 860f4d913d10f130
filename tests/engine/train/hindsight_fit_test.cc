#include "engine/train/hindsight_fit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/base/random.h"
#include "engine/detect/hindsight.h"
#include "engine/train/recipe.h"
#include "engine/train/train_job.h"

namespace astray {
namespace {

// Three sensors that follow one load, which swings.
std::vector<float> SensorRows(size_t rows, uint64_t seed, double noise = 1) {
  Random random(seed);
  std::vector<float> values;
  for (size_t i = 0; i < rows; ++i) {
    const double load = std::sin(0.15 * static_cast<double>(i)) + 0.3 * std::sin(0.031 * static_cast<double>(i));
    values.push_back(static_cast<float>(100 + 30 * load + noise * random.Normal()));
    values.push_back(static_cast<float>(5 - 2 * load * load + 0.1 * noise * random.Normal()));
    values.push_back(static_cast<float>(3 + load + 0.03 * noise * random.Normal()));
  }
  return values;
}

std::shared_ptr<const Detector> TrainDetector(const std::string& recipe, Dataset data) {
  const auto trained = Train(*ParseRecipe("name: 'pump' network { encoder: 32 encoder: 8 } " + recipe, "r"), data, {});
  EXPECT_TRUE(trained.ok()) << trained.status();
  return trained->detector;
}

Dataset DataOf(std::vector<float> rows) {
  Dataset data{.feature_names = {"flow", "pressure", "power"}};
  data.values.insert(data.values.end(), rows.begin(), rows.end());
  return data;
}

std::vector<float> HindsightOf(const Detector& detector, std::span<const float> rows) {
  const auto errors = HindsightErrors(detector, detector.model().hindsight->scale, rows);
  EXPECT_TRUE(errors.ok()) << errors.status();
  return *errors;
}

constexpr const char* kWindows = "features { window: 20 } training { max_steps: 400 } ";

TEST(FitHindsight, FlagsFreshNormalRowsAtTheRateAskedFor) {
  for (const char* kind : {"WINDOW_SCALES", "WINDOW_NORMALISED"}) {
    const auto detector =
        TrainDetector(absl::StrCat(kWindows, "calibration { false_positive_rate: 0.05 } score { kind: ", kind, " }"),
                      DataOf(SensorRows(30'000, 1)));
    ASSERT_TRUE(detector->model().hindsight.has_value());
    const HindsightModel& hindsight = *detector->model().hindsight;
    EXPECT_EQ(hindsight.calibration.false_positive_rate(), 0.05);
    EXPECT_EQ(hindsight.calibration.samples(), 6000u) << "each row held out, one window's first ones, too";
    EXPECT_EQ(hindsight.scale.variance_size(), std::string(kind) == "WINDOW_SCALES" ? 3 : 0);
    EXPECT_EQ(hindsight.scale.has_subspace(), std::string(kind) != "WINDOW_SCALES");
    EXPECT_EQ(hindsight.scale.first_place(), std::string(kind) == "WINDOW_SCALES" ? 10u : 0u);
    const std::vector<uint32_t> near(hindsight.scale.rows_near().begin(), hindsight.scale.rows_near().end());
    EXPECT_EQ(near, RowsNear(detector->model().score_scale.kind(), 20));
    const std::vector<float> errors = HindsightOf(*detector, SensorRows(20'000, 2));
    const auto flagged = static_cast<double>(
        std::ranges::count_if(errors, [&](float error) { return error > hindsight.calibration.threshold(); }));
    // Errors of neighbours hang together: 6,000 rows are worth some hundred.
    EXPECT_GT(flagged / 20'000, 0.02) << kind;
    EXPECT_LT(flagged / 20'000, 0.10) << kind;
  }
}

TEST(FitHindsight, TellsWhichRowsExactlyWereNotNormal) {
  const auto detector =
      TrainDetector(absl::StrCat(kWindows, "score { kind: WINDOW_SCALES }"), DataOf(SensorRows(6000, 1)));
  std::vector<float> rows = SensorRows(400, 3);
  for (size_t row = 200; row < 210; ++row) rows[row * 3] -= 25;  // the flow falls, and nothing else does
  const std::vector<float> later = HindsightOf(*detector, rows);
  ScoreResult live;
  ASSERT_TRUE(detector->Score(rows, {}, &live).ok());
  const double threshold = detector->model().hindsight->calibration.threshold();
  const auto count = [&](size_t begin, size_t end, const auto& flagged) {
    size_t sum = 0;
    for (size_t row = begin; row < end; ++row) sum += flagged(row) ? 1 : 0;
    return sum;
  };
  const auto in_hindsight = [&](size_t row) { return later[row] > threshold; };
  const auto as_they_come = [&](size_t row) { return live.verdicts[row - 19].anomalous; };
  EXPECT_EQ(count(200, 210, in_hindsight), 10u);
  // A verdict as it comes lingers until the last of them has left the window; five rows beside them, a quarter of a
  // window, are near enough.
  EXPECT_GE(count(215, 228, as_they_come), 10u);
  EXPECT_EQ(count(215, 228, in_hindsight), 0u);
  EXPECT_EQ(count(180, 195, in_hindsight), 0u);
}

TEST(FitHindsight, GivesSegmentsThresholdsOfTheirOwn) {
  // "loud" has four times the noise; each is a run of its own.
  Dataset data = DataOf(SensorRows(3000, 1));
  const std::vector<float> loud = SensorRows(3000, 2, 4);
  data.values.insert(data.values.end(), loud.begin(), loud.end());
  for (size_t row = 0; row < 6000; ++row) data.segments.push_back(row < 3000 ? "quiet" : "loud");
  const auto detector = TrainDetector(kWindows, std::move(data));
  const Calibration& calibration = detector->model().hindsight->calibration;
  ASSERT_EQ(calibration.segments().size(), 2u);
  const auto threshold = [&](const char* name) {
    return calibration.Judge(1, calibration.SegmentIndex(name), /*missing_level=*/0).threshold;
  };
  EXPECT_GT(threshold("loud"), 1.3 * threshold("quiet"));
}

TEST(FitHindsight, IsNotOfRowsThatAreJudgedAlone) {
  const auto detector = TrainDetector("features { window: 1 } training { max_steps: 50 }", DataOf(SensorRows(500, 1)));
  EXPECT_FALSE(detector->model().hindsight.has_value());
}

}  // namespace
}  // namespace astray
