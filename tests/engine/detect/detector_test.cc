#include "engine/detect/detector.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "tests/engine/detect/detector_scoring.h"
#include "tests/engine/detect/small_detector.h"

namespace astray {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// The network in double precision, straight from its layers and parameters.
std::vector<double> Reconstruct(const Network& network, std::vector<double> values) {
  for (size_t layer = 0; layer < static_cast<size_t>(network.spec().layers_size()); ++layer) {
    const v1::DenseLayer& dense = network.spec().layers(static_cast<int>(layer)).dense();
    std::vector<double> next(dense.outputs());
    for (size_t o = 0; o < dense.outputs(); ++o) {
      double sum = network.parameters()[network.offsets(layer).bias + o];
      for (size_t i = 0; i < dense.inputs(); ++i) {
        sum += network.parameters()[network.offsets(layer).weights + o * dense.inputs() + i] * values[i];
      }
      if (dense.activation() == v1::RELU) sum = std::max(sum, 0.0);
      if (dense.activation() == v1::TANH) sum = std::tanh(sum);
      next[o] = sum;
    }
    values = std::move(next);
  }
  return values;
}

// Mean over what is not NaN.
double Mean(const std::vector<double>& values) {
  double sum = 0;
  double count = 0;
  for (const double value : values) {
    if (std::isnan(value)) continue;
    sum += value;
    count += 1;
  }
  return sum / count;
}

// The formulas of score_kind.h for three features and a window of two; a residual that is not observed is NaN.
double Error(const v1::ScoreScale& scale, const std::vector<double>& residual) {
  std::vector<double> terms(6);
  for (size_t j = 0; j < 6; ++j) {
    const double variance = scale.residual_variance().empty() ? 1 : scale.residual_variance(static_cast<int>(j));
    terms[j] = residual[j] * residual[j] / variance;
    if (scale.kind() == v1::TRAINING_LOSS && !std::isnan(residual[j])) {  // Huber's
      const double size = std::abs(residual[j]);
      terms[j] = size < 1 ? size * size / 2 : size - 0.5;
    }
  }
  if (scale.kind() != v1::WINDOW_NORMALISED) return Mean(terms);
  std::vector<double> features(3);
  for (size_t f = 0; f < 3; ++f) {
    const double level = Mean({residual[f], residual[f + 3]});
    features[f] = std::max(level * level / scale.level_variance(static_cast<int>(f)), Mean({terms[f], terms[f + 3]}));
  }
  return Mean(features);
}

// Rules: of every feature what is within 4 %; a flow below what is expected; of the temperature what is within 0.02.
bool Ignored(size_t feature, double reading, double expected) {
  if (std::abs(reading - expected) < 0.04 * std::abs(expected)) return true;
  return (feature == 0 && reading <= expected) || (feature == 2 && std::abs(reading - expected) < 0.02);
}

TEST(Detector, MatchesDoublePrecision) {
  for (const auto& [kind, rules] : std::vector<std::pair<v1::ScoreKind, bool>>{{v1::MEAN_SQUARED, false},
                                                                               {v1::FEATURE_NORMALISED, false},
                                                                               {v1::WINDOW_NORMALISED, false},
                                                                               {v1::TRAINING_LOSS, false},
                                                                               {v1::MEAN_SQUARED, true},
                                                                               {v1::WINDOW_NORMALISED, true},
                                                                               {v1::TRAINING_LOSS, true}}) {
    const auto detector = MakeSmallDetector(
        {.window = 2,
         .kind = kind,
         .rules = rules ? "rule { ignore_below_ratio: 0.04 } rule { feature: 'flow' direction: ABOVE } "
                          "rule { feature: 'temperature' ignore_below: 0.02 }"
                        : ""});
    size_t ignored = 0, counted = 0;
    const DetectorModel& model = detector->model();
    const v1::ScalerState& scaler = model.pipeline.scaler().state();
    std::vector<float> rows = SmallRows(50, 9);
    rows[7] = kNaN;
    rows[40] *= 1.5f;
    const ScoreResult result = Score(*detector, rows);
    ASSERT_EQ(result.verdicts.size(), 49u);
    for (size_t vector = 0; vector < 49; ++vector) {
      std::vector<double> input(6);
      for (size_t j = 0; j < 6; ++j) {
        float value = rows[vector * 3 + j];
        const auto column = static_cast<int>(j % 3);
        if (std::isnan(value)) value = rows[vector * 3 + (j + 3) % 6];  // the window's other row
        input[j] = (value - scaler.offset(column)) / scaler.scale(column);
      }
      const std::vector<double> output = Reconstruct(model.executors.network(), input);
      std::vector<double> residual(6, kNaN);
      for (size_t j = 0; j < 6; ++j) {
        if (std::isnan(rows[vector * 3 + j])) continue;
        residual[j] = output[j] - input[j];
        const auto column = static_cast<int>(j % 3);
        const double there = output[j] * scaler.scale(column) + scaler.offset(column);
        if (rules && Ignored(j % 3, rows[vector * 3 + j], there)) residual[j] = 0;
        (residual[j] == 0 ? ignored : counted) += 1;
      }
      const double expected = Error(model.score_scale, residual);
      const Verdict& verdict = result.verdicts[vector];
      EXPECT_NEAR(verdict.error, expected, 1e-4 * expected);
      EXPECT_FLOAT_EQ(verdict.score, static_cast<float>(verdict.error / detector->calibration().threshold()));
      EXPECT_EQ(verdict.p_value, detector->calibration().PValue(verdict.error));
      EXPECT_EQ(verdict.anomalous, verdict.error > detector->calibration().threshold());
      EXPECT_EQ(verdict.state, Verdict::State::kScored);
    }
    EXPECT_GT(counted, 50u);
    EXPECT_EQ(ignored > 50, rules) << ignored;
  }
}

TEST(Detector, CalibratesOnTheErrorsThatItGives) {
  for (const char* rules : {"", "rule { ignore_below_ratio: 0.05 }", "rule { ignore_below: 1e6 }"}) {
    const auto detector = MakeSmallDetector({.kind = v1::WINDOW_NORMALISED, .rules = rules});
    const std::vector<float> rows = SmallRows(400, 100);  // those of its calibration
    const auto errors = detector->Errors(rows);
    ASSERT_TRUE(errors.ok());
    const ScoreResult result = Score(*detector, rows);
    ASSERT_EQ(errors->size(), result.verdicts.size());
    size_t flagged = 0;
    for (size_t i = 0; i < errors->size(); ++i) {
      ASSERT_TRUE(SameBits((*errors)[i], result.verdicts[i].error));
      flagged += result.verdicts[i].anomalous ? 1 : 0;
    }
    EXPECT_LE(flagged, 8u) << "2 % of 398: " << rules;
  }
}

TEST(Detector, FewerRowsThanTheWindowGiveNoVerdict) {
  const auto detector = MakeSmallDetector({.window = 3});
  EXPECT_EQ(Score(*detector, SmallRows(3, 1)).verdicts.size(), 1u);
  EXPECT_TRUE(Score(*detector, SmallRows(2, 1)).verdicts.empty());
  EXPECT_TRUE(Score(*detector, {}).verdicts.empty());
}

TEST(Detector, MissingValuesTakeNoPart) {
  const auto detector = MakeSmallDetector({.window = 1});
  std::vector<float> rows = SmallRows(4, 8);
  rows[1] = kNaN;
  rows[3] = rows[4] = rows[5] = kNaN;
  const ScoreResult result = Score(*detector, rows, {.top_contributors = 3, .explain_all = true});
  EXPECT_EQ(result.verdicts[0].state, Verdict::State::kScored);
  EXPECT_EQ(result.verdicts[0].contributions, 2u);
  for (size_t k = 0; k < 2; ++k) EXPECT_NE(result.contributions[k].feature, 1u);

  EXPECT_EQ(result.verdicts[1].state, Verdict::State::kAllMissing);
  EXPECT_FALSE(result.verdicts[1].anomalous);
  EXPECT_EQ(result.verdicts[1].score, 0);
  EXPECT_EQ(result.verdicts[1].p_value, 1);
  EXPECT_EQ(result.verdicts[1].contributions, 0u);
  EXPECT_EQ(result.verdicts[2].state, Verdict::State::kScored);
}

TEST(Detector, TheLargestNumbersGiveFiniteVerdicts) {
  const auto detector = MakeSmallDetector({.window = 2});
  constexpr float kMax = std::numeric_limits<float>::max();
  const std::vector<float> rows = {kMax, -kMax, kMax, -kMax, kMax, -kMax, kMax, kMax, kMax};
  const ScoreResult result = Score(*detector, rows, {.reconstruction = true});
  for (size_t i = 0; i < result.verdicts.size(); ++i) {
    EXPECT_TRUE(result.verdicts[i].anomalous);
    EXPECT_TRUE(std::isfinite(result.verdicts[i].score));
    EXPECT_TRUE(std::isfinite(result.verdicts[i].error));
  }
  for (const float value : result.reconstruction) EXPECT_TRUE(std::isfinite(value));
}

TEST(Detector, NamesRowAndFeatureOfWhatItRefuses) {
  const auto detector = MakeSmallDetector();
  ScoreResult result;
  EXPECT_EQ(detector->Score(std::vector<float>(7), {}, &result),
            absl::InvalidArgumentError("rows: expected a multiple of 3 values (the model's features), got 7"));
  std::vector<float> rows = SmallRows(800, 1);
  rows[700 * 3 + 1] = HUGE_VALF;
  const auto refused =
      absl::InvalidArgumentError("row 700, feature 'pressure': expected a finite number, or NaN for missing, got inf");
  EXPECT_EQ(detector->Score(rows, {}, &result), refused);
  EXPECT_EQ(detector->Errors(rows).status(), refused);
}

TEST(Detector, ErrorsAreThoseOfTheVerdictsWithSomethingObserved) {
  const auto detector = MakeSmallDetector({.window = 1});
  std::vector<float> rows = SmallRows(600, 3);
  for (size_t i = 300; i < 330; ++i) rows[i] = kNaN;
  const ScoreResult result = Score(*detector, rows);
  std::vector<float> expected;
  for (const Verdict& verdict : result.verdicts) {
    if (verdict.state == Verdict::State::kScored) expected.push_back(verdict.error);
  }
  const auto errors = detector->Errors(rows);
  ASSERT_TRUE(errors.ok());
  EXPECT_EQ(errors->size(), 590u);
  EXPECT_EQ(*errors, expected);
}

TEST(Detector, AnotherCalibrationSharesTheModel) {
  const auto detector = MakeSmallDetector();
  auto calibration = Calibration::Create({1, 2, 3, 400}, 0.2, {.epoch = 2});
  ASSERT_TRUE(calibration.ok());
  const auto other = detector->WithCalibration(std::make_shared<const Calibration>(*std::move(calibration)));
  EXPECT_EQ(&other->model(), &detector->model());
  EXPECT_EQ(other->calibration().epoch(), 2u);
  const std::vector<float> rows = SmallRows(10, 4);
  EXPECT_EQ(Score(*other, rows).verdicts[0].error, Score(*detector, rows).verdicts[0].error);
  EXPECT_FLOAT_EQ(Score(*other, rows).verdicts[0].score, Score(*other, rows).verdicts[0].error / 400);
}

TEST(Detector, ReusesWhatTheResultHasAllocated) {
  const auto detector = MakeSmallDetector();
  const ScoreOptions options = {.explain_all = true, .reconstruction = true, .code = true};
  ScoreResult result = Score(*detector, SmallRows(600, 4), options);
  const auto buffers = [&] {
    return std::vector<const void*>{
        result.verdicts.data(), result.contributions.data(), result.reconstruction.data(), result.batch.values.data(),
        result.output.data(),   result.feature_error.data(), result.p_values.data(),       result.code.data()};
  };
  const auto before = buffers();
  ASSERT_TRUE(detector->Score(SmallRows(30, 4), options, &result).ok());
  ASSERT_TRUE(detector->Score(SmallRows(600, 4), options, &result).ok());
  EXPECT_EQ(buffers(), before);
}

}  // namespace
}  // namespace astray
