#include "engine/detect/detector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <thread>

#include "engine/base/random.h"
#include "engine/detect/row_history.h"
#include "engine/nn/executor.h"
#include "tests/engine/detect/small_detector.h"

namespace astray {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

ScoreResult Score(const Detector& detector, std::span<const float> rows, const ScoreOptions& options = {}) {
  ScoreResult result;
  const absl::Status status = detector.Score(rows, options, &result);
  EXPECT_TRUE(status.ok()) << status;
  return result;
}

// Distinguishes 0 from -0, and takes a NaN for itself.
bool SameBits(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

bool SameBits(const Verdict& a, const Verdict& b) {
  return a.state == b.state && a.anomalous == b.anomalous && a.contributions == b.contributions &&
         a.repairs == b.repairs && SameBits(a.score, b.score) && SameBits(a.error, b.error) && a.p_value == b.p_value;
}

bool SameBits(const Contribution& a, const Contribution& b) {
  return a.feature == b.feature && SameBits(a.share, b.share) && SameBits(a.observed, b.observed) &&
         SameBits(a.expected, b.expected) && SameBits(a.repaired_score, b.repaired_score);
}

bool SameRepairs(const ScoreResult& a, size_t i, const ScoreResult& b, size_t j) {
  return std::equal(
      a.repairs.begin() + static_cast<std::ptrdiff_t>(i * a.repairs_stride),
      a.repairs.begin() + static_cast<std::ptrdiff_t>(i * a.repairs_stride + a.verdicts[i].repairs),
      b.repairs.begin() + static_cast<std::ptrdiff_t>(j * b.repairs_stride),
      b.repairs.begin() + static_cast<std::ptrdiff_t>(j * b.repairs_stride + b.verdicts[j].repairs),
      [](const RepairStep& x, const RepairStep& y) { return x.feature == y.feature && SameBits(x.score, y.score); });
}

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

// Windows of many streams, scored together: each has the bits that it has in its own.
TEST(Detector, WindowsOneBehindTheOtherHaveTheBitsOfTheirStream) {
  for (const uint32_t window : {1u, 3u, 10u}) {
    const auto detector = MakeSmallDetector({.window = window, .kind = v1::WINDOW_NORMALISED, .noise_level = 0.5f});
    std::vector<float> rows = SmallRows(500, 5);
    Random random(window);
    for (int i = 0; i < 200; ++i) rows[random.UniformInt(rows.size())] = i % 3 == 0 ? kNaN : 1e5f;
    const ScoreOptions options = {
        .top_contributors = 3, .explain_all = true, .reconstruction = true, .imputation = true, .counterfactual = 2};
    const ScoreResult stream = Score(*detector, rows, options);
    std::vector<size_t> picked;
    std::vector<float> windows;
    for (size_t i = 0; i < 700; ++i) {  // over several chunks
      picked.push_back(random.UniformInt(stream.verdicts.size()));
      const auto rows_of = std::span(rows).subspan(picked.back() * 3, window * 3);
      windows.insert(windows.end(), rows_of.begin(), rows_of.end());
    }
    ScoreResult result;
    ASSERT_TRUE(detector->ScoreWindows(windows, options, &result).ok());
    ASSERT_EQ(result.verdicts.size(), picked.size());
    for (size_t i = 0; i < picked.size(); ++i) {
      ASSERT_TRUE(SameBits(result.verdicts[i], stream.verdicts[picked[i]])) << i;
      for (size_t k = 0; k < result.verdicts[i].contributions; ++k) {
        ASSERT_TRUE(SameBits(result.contributions[i * 3 + k], stream.contributions[picked[i] * 3 + k]));
      }
      ASSERT_TRUE(SameRepairs(result, i, stream, picked[i]));
      for (size_t k = 0; k < 3; ++k) {
        ASSERT_TRUE(SameBits(result.reconstruction[i * 3 + k], stream.reconstruction[picked[i] * 3 + k]));
        ASSERT_TRUE(SameBits(result.imputed[i * 3 + k], stream.imputed[picked[i] * 3 + k]));
      }
    }
  }
}

TEST(Detector, FewerRowsThanTheWindowGiveNoVerdict) {
  const auto detector = MakeSmallDetector({.window = 3});
  EXPECT_EQ(Score(*detector, SmallRows(3, 1)).verdicts.size(), 1u);
  EXPECT_TRUE(Score(*detector, SmallRows(2, 1)).verdicts.empty());
  EXPECT_TRUE(Score(*detector, {}).verdicts.empty());
}

TEST(Detector, VerdictsAreTheSameBitForBitHoweverRowsAreCut) {
  for (const uint32_t window : {1u, 3u, 10u}) {
    const auto detector = MakeSmallDetector({.window = window, .kind = v1::WINDOW_NORMALISED, .noise_level = 0.5f});
    std::vector<float> rows = SmallRows(900, 5);
    Random random(window);
    for (int i = 0; i < 200; ++i) rows[random.UniformInt(rows.size())] = i % 3 == 0 ? kNaN : 1e5f;
    const ScoreOptions options = {.top_contributors = 2,
                                  .explain_all = true,
                                  .reconstruction = true,
                                  .code = true,
                                  .imputation = true,
                                  .purification_passes = 2,
                                  .score_function = true,
                                  .counterfactual = 3};
    const ScoreResult whole = Score(*detector, rows, options);
    ASSERT_EQ(whole.verdicts.size(), 900 - window + 1);

    RowHistory history(3, window);
    ScoreResult part;
    size_t read = 0;
    size_t vector = 0;
    while (read < 900) {
      const size_t count = std::min<size_t>(random.UniformInt(read < 300 ? 5 : 300), 900 - read);
      ASSERT_TRUE(detector->Score(history.Extend(std::span(rows).subspan(read * 3, count * 3)), options, &part).ok());
      ASSERT_EQ(part.verdicts.size(), count - history.warming_up_rows());
      for (size_t i = 0; i < part.verdicts.size(); ++i, ++vector) {
        ASSERT_TRUE(SameBits(part.verdicts[i], whole.verdicts[vector])) << "vector " << vector;
        for (size_t k = 0; k < whole.verdicts[vector].contributions; ++k) {
          ASSERT_TRUE(SameBits(part.contributions[i * 3 + k], whole.contributions[vector * 3 + k]));
        }
        ASSERT_TRUE(SameRepairs(part, i, whole, vector));
        for (size_t k = 0; k < 3; ++k) {
          ASSERT_TRUE(SameBits(part.reconstruction[i * 3 + k], whole.reconstruction[vector * 3 + k]));
          ASSERT_TRUE(SameBits(part.imputed[i * 3 + k], whole.imputed[vector * 3 + k]));
          ASSERT_TRUE(SameBits(part.purified[i * 3 + k], whole.purified[vector * 3 + k]));
          ASSERT_TRUE(SameBits(part.score_function[i * 3 + k], whole.score_function[vector * 3 + k]));
        }
        const size_t units = detector->code_size();
        for (size_t k = 0; k < units; ++k) {
          ASSERT_TRUE(SameBits(part.code[i * units + k], whole.code[vector * units + k]));
        }
      }
      read += count;
    }
    EXPECT_EQ(vector, whole.verdicts.size());
  }
}

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

TEST(Detector, ScoresOnManyThreadsAtOnce) {
  const auto detector = MakeSmallDetector();
  const std::vector<float> rows = SmallRows(500, 11);
  const ScoreResult expected = Score(*detector, rows);
  std::vector<int> different(6, 0);
  std::vector<std::thread> threads;
  threads.reserve(different.size());
  for (int& count : different) {
    threads.emplace_back([&detector, &rows, &expected, &count] {
      for (int round = 0; round < 5; ++round) {
        const ScoreResult result = Score(*detector, rows);
        for (size_t i = 0; i < expected.verdicts.size(); ++i) {
          count += SameBits(result.verdicts[i], expected.verdicts[i]) ? 0 : 1;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(different, ::testing::Each(0));
}

}  // namespace
}  // namespace astray
