// T² of the readings beside the residual's error (score_kind.h).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "engine/base/random.h"
#include "engine/detect/error_formula.h"
#include "engine/detect/mahalanobis.h"
#include "engine/detect/score_kind.h"
#include "engine/detect/score_scale.h"
#include "engine/detect/verdict_message.h"
#include "tests/engine/detect/small_detector.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

constexpr size_t kFeatures = 3, kWindow = 4, kWidth = kFeatures * kWindow;
constexpr uint32_t kRows = 2;

// Windows of readings around (5, 0, -1) that move together, rebuilt with small residuals of their own.
struct Windows {
  std::vector<float> input, output, observed;

  Rebuilt all() const { return {input, output, observed}; }
  RebuiltVectors vectors() const {
    return {.count = input.size() / kWidth,
            .width = kWidth,
            .outputs = kWidth,
            .input = input.data(),
            .output = output.data(),
            .observed = observed.data()};
  }
};

Windows MakeWindows(size_t count, uint64_t seed) {
  Random random(seed);
  Windows windows;
  for (size_t i = 0; i < count; ++i) {
    const double load = random.Normal();
    for (size_t j = 0; j < kWidth; ++j) {
      const double centre[] = {5, 0, -1}, slope[] = {1, -2, 0.5};
      windows.input.push_back(
          static_cast<float>(centre[j % kFeatures] + slope[j % kFeatures] * load + 0.2 * random.Normal()));
      windows.output.push_back(windows.input.back() + static_cast<float>(0.1 * random.Normal()));
    }
  }
  windows.observed.assign(windows.input.size(), 1);
  return windows;
}

v1::ScoreScale Fit(const Windows& held_out, const Windows& training, uint32_t rows = kRows) {
  v1::ScoreRecipe recipe;
  recipe.set_kind(v1::FEATURE_NORMALISED);
  recipe.set_t_squared_rows(rows);
  auto scale = FitScoreScale(recipe, kFeatures, kWidth, held_out.all(), training.all());
  EXPECT_TRUE(scale.ok()) << scale.status();
  EXPECT_TRUE(CheckScoreScale(*scale, kFeatures, kWidth).ok());
  return *scale;
}

std::vector<float> ErrorsOf(const v1::ScoreScale& scale, const Windows& windows) {
  std::vector<float> errors(windows.vectors().count);
  ErrorFormula::Scratch scratch;
  ErrorFormula(scale).Errors(windows.vectors(), &scratch, errors);
  return errors;
}

v1::ScoreScale WithoutTSquared(v1::ScoreScale scale) {
  scale.clear_t_squared();
  return scale;
}

Eigen::MatrixXd Matrix(const google::protobuf::RepeatedField<float>& lower, int size) {
  Eigen::MatrixXd matrix(size, size);
  for (int a = 0, at = 0; a < size; ++a) {
    for (int b = 0; b <= a; ++b, ++at) matrix(a, b) = matrix(b, a) = lower.Get(at);
  }
  return matrix;
}

// The formula of score_kind.h. Of features that are there in the newest rows alone, by the correlation of these.
double TSquaredOf(const v1::TSquaredScale& scale, const Windows& windows, size_t i) {
  std::vector<int> there;
  std::vector<double> z;
  for (size_t f = 0; f < kFeatures; ++f) {
    double sum = 0, count = 0;
    for (size_t row = kWindow - scale.rows(); row < kWindow; ++row) {
      const size_t j = i * kWidth + row * kFeatures + f;
      if (windows.observed[j] == 0) continue;
      sum += windows.input[j];
      count += 1;
    }
    if (count == 0) continue;
    there.push_back(static_cast<int>(f));
    z.push_back((sum / count - scale.mean(static_cast<int>(f))) / scale.deviation(static_cast<int>(f)));
  }
  const Eigen::MatrixXd correlation = Matrix(scale.precision(), kFeatures).inverse();
  const auto size = static_cast<Eigen::Index>(there.size());
  Eigen::MatrixXd part(size, size);
  for (Eigen::Index a = 0; a < size; ++a) {
    for (Eigen::Index b = 0; b < size; ++b) {
      part(a, b) = correlation(there[static_cast<size_t>(a)], there[static_cast<size_t>(b)]);
    }
  }
  const Eigen::Map<const Eigen::VectorXd> deviations(z.data(), size);
  return deviations.dot(part.inverse() * deviations) / static_cast<double>(size);
}

TEST(TSquared, TheErrorIsTheLargerOne) {
  const v1::ScoreScale scale = Fit(MakeWindows(400, 1), MakeWindows(900, 2));
  Windows windows = MakeWindows(300, 3);
  Random random(4);
  for (size_t i = 0; i < windows.input.size(); ++i) {
    if (i / kWidth % 3 == 1) windows.input[i] += 2;  // and the output with it, or not
    if (i / kWidth % 6 == 1) windows.output[i] += 2;
    if (i / kWidth % 5 == 2 && random.Uniform() < 0.6) windows.observed[i] = 0;
  }
  const std::vector<float> errors = ErrorsOf(scale, windows), residual = ErrorsOf(WithoutTSquared(scale), windows);
  size_t by_t_squared = 0, by_residual = 0, within = 0, checked = 0;
  for (size_t i = 0; i < errors.size(); ++i) {
    const auto newest = windows.observed.begin() + static_cast<std::ptrdiff_t>((i + 1) * kWidth);
    if (std::count(newest - kRows * kFeatures, newest, 1.0f) == 0) continue;
    const double t_squared = TSquaredOf(scale.t_squared(), windows, i);
    const double other = t_squared > scale.t_squared().limit() ? scale.t_squared().factor() * t_squared : 0;
    const double expected = std::max<double>(residual[i], other);
    EXPECT_NEAR(errors[i], expected, 1e-4 * expected) << i;
    ++(other > residual[i] ? by_t_squared : by_residual);
    within += other == 0 ? 1 : 0;
    ++checked;
  }
  EXPECT_GT(checked, 280u);
  EXPECT_GT(by_t_squared, 50u);
  EXPECT_GT(by_residual, 50u);
  EXPECT_GT(within, 50u);
}

TEST(TSquared, IsScaledSoThatNormalVectorsHardlyReachIt) {
  const Windows held_out = MakeWindows(3000, 1), training = MakeWindows(7000, 2);
  const v1::ScoreScale scale = Fit(held_out, training);
  std::vector<double> t_squared;
  for (const Windows* part : {&held_out, &training}) {
    for (size_t i = 0; i < part->vectors().count; ++i) t_squared.push_back(TSquaredOf(scale.t_squared(), *part, i));
  }
  std::ranges::sort(t_squared);
  std::vector<float> errors = ErrorsOf(WithoutTSquared(scale), held_out);
  std::ranges::sort(errors);
  // 50 of 10,000 are beyond, 30 of 3,000.
  EXPECT_NEAR(scale.t_squared().limit(), t_squared[9'949], 1e-4 * t_squared[9'949]);
  EXPECT_NEAR(scale.t_squared().factor() * t_squared[9'949], errors[2'969], 1e-4 * errors[2'969]);
  // The readings' own statistics: means of two rows, of a load of 1 and noise of 0.2.
  EXPECT_NEAR(scale.t_squared().mean(0), 5, 0.05);
  EXPECT_NEAR(scale.t_squared().deviation(1), std::sqrt(4 + 0.02), 0.05);
  const Eigen::MatrixXd correlation = Matrix(scale.t_squared().precision(), kFeatures).inverse();
  EXPECT_NEAR(correlation(1, 0), -0.9 * 2 / std::sqrt(1.02 * 4.02), 0.01);  // 0.1 of it shrunk away
}

TEST(TSquared, SeesWhatTheNetworkRebuilds) {
  const v1::ScoreScale scale = Fit(MakeWindows(400, 1), MakeWindows(900, 2));
  Windows windows = MakeWindows(1, 3);
  windows.output = windows.input;
  EXPECT_EQ(ErrorsOf(scale, windows)[0], 0) << "within the limit";
  for (size_t j = 0; j < kWidth; j += kFeatures) windows.input[j] = windows.output[j] = 25;  // twenty loads away
  const float error = ErrorsOf(scale, windows)[0];
  EXPECT_GT(error, scale.t_squared().factor() * 50);
  std::vector<float> parts(kFeatures);
  ErrorFormula::Scratch scratch;
  const auto explained = ErrorFormula(scale).Explain(windows.vectors(), &scratch, parts);
  EXPECT_TRUE(explained.by_t_squared);
  EXPECT_EQ(explained.error, error);
  EXPECT_NEAR(std::accumulate(parts.begin(), parts.end(), 0.0), error, 1e-4 * error);
  EXPECT_EQ(std::ranges::max_element(parts), parts.begin());
  EXPECT_FLOAT_EQ(ErrorFormula(scale).t_squared_mean(0), scale.t_squared().mean(0));
}

TEST(TSquared, SaysNothingOfRowsThatAreMissing) {
  const v1::ScoreScale scale = Fit(MakeWindows(400, 1), MakeWindows(900, 2));
  Windows windows = MakeWindows(1, 3);
  for (float& value : windows.input) value += 9;
  windows.output = windows.input;
  const float error = ErrorsOf(scale, windows)[0];
  EXPECT_GT(error, 1);
  for (size_t j = kWidth - kRows * kFeatures; j < kWidth; ++j) windows.observed[j] = 0;
  EXPECT_EQ(ErrorsOf(scale, windows)[0], 0) << "the residual's";
  windows.observed.assign(kWidth, 0);
  EXPECT_TRUE(std::isnan(ErrorsOf(scale, windows)[0]));
}

TEST(TSquared, StaysOutWhereThereIsNothingToCompare) {
  Windows flat = MakeWindows(50, 1);
  flat.output = flat.input;
  EXPECT_FALSE(Fit(flat, flat).has_t_squared()) << "no residuals";
  EXPECT_FALSE(Fit(MakeWindows(50, 1), {}, 0).has_t_squared()) << "not asked for";
  EXPECT_TRUE(Fit(MakeWindows(50, 1), {}).has_t_squared()) << "without training vectors";
}

TEST(TSquared, AScaleThatCannotBeIsRefused) {
  const v1::ScoreScale fitted = Fit(MakeWindows(50, 1), {});
  const auto refused = [&](const std::function<void(v1::TSquaredScale&)>& change) {
    v1::ScoreScale scale = fitted;
    change(*scale.mutable_t_squared());
    return std::string(CheckScoreScale(scale, kFeatures, kWidth).message());
  };
  EXPECT_EQ(refused([](auto& s) { s.set_rows(5); }),
            "score: t_squared: rows: expected at most the window of 4 rows, got 5");
  EXPECT_EQ(refused([](auto& s) { s.set_rows(0); }), "score: t_squared: rows: expected at least 1, got 0");
  EXPECT_EQ(refused([](auto& s) { s.clear_mean(); }), "score: t_squared: mean: expected 3 values, got 0");
  EXPECT_EQ(refused([](auto& s) { s.set_deviation(1, 0); }),
            "score: t_squared: deviation 1: expected a finite number above 0, got 0");
  EXPECT_EQ(refused([](auto& s) { s.mutable_precision()->RemoveLast(); }),
            "score: t_squared: precision: expected 6 values, got 5");
  EXPECT_EQ(refused([](auto& s) { s.set_precision(0, -1); }),
            "score: t_squared: precision: expected numbers above 0 in its diagonal, got -1");
  EXPECT_EQ(refused([](auto& s) { s.set_limit(-1); }),
            "score: t_squared: limit: expected a finite number from 0, got -1");
  EXPECT_THAT(refused([](auto& s) { s.set_limit(std::nan("")); }), HasSubstr("t_squared: limit"));
  for (const double factor : {0.0, -1.0, HUGE_VAL, std::nan("")}) {
    EXPECT_THAT(refused([&](auto& s) { s.set_factor(factor); }),
                HasSubstr("score: t_squared: factor: expected a finite number above 0, got"));
  }
  v1::ScoreScale other = fitted;
  other.set_features(0);
  EXPECT_THAT(std::string(CheckScoreScale(other, kFeatures, kWidth).message()), HasSubstr("features: expected 3"));
  EXPECT_THAT(std::string(CheckTSquaredRows("score.t_squared_rows", 1, kMaxMahalanobisFeatures + 1, 1).message()),
              HasSubstr("score.t_squared_rows: expected at most 128 features, got 129"));
}

TEST(TSquared, AVerdictSaysSoAndExpectsTheReadingsMeanThen) {
  const auto detector = MakeSmallDetector({.t_squared_rows = 2});
  std::vector<float> rows = SmallRows(3, 7);
  for (size_t i = 0; i < rows.size(); i += 3) rows[i] += 1000;
  ScoreResult result;
  ASSERT_TRUE(detector->Score(rows, {.top_contributors = 3}, &result).ok());
  ASSERT_EQ(result.verdicts.size(), 1u);
  ASSERT_TRUE(result.verdicts[0].anomalous);
  EXPECT_TRUE(result.verdicts[0].by_t_squared);
  ASSERT_GE(result.verdicts[0].contributions, 1u);
  const Contribution& first = result.contributions[0];
  EXPECT_EQ(first.feature, 0u);
  EXPECT_FLOAT_EQ(first.observed, rows[6]);
  const v1::TSquaredScale& scale = detector->model().score_scale.t_squared();
  EXPECT_FLOAT_EQ(first.expected, detector->model().pipeline.scaler().InvertValue(0, scale.mean(0)));
  EXPECT_NEAR(first.expected, 20, 1) << "the flow's mean";
}

TEST(TSquared, AVerdictByItsResidualSaysThat) {
  const auto detector = MakeSmallDetector({.t_squared_rows = 1});
  const std::vector<float> normal = SmallRows(3, 7);
  std::vector<float> shifted = normal, broken = normal;
  for (size_t i = 0; i < shifted.size(); i += 3) shifted[i] += 1000;
  broken[0] += 1000;   // of the oldest row, which T² does not look at
  ScoreResult result;  // one for all: nothing of a verdict stays for the next
  const auto judge = [&](const std::vector<float>& rows, const ScoreOptions& options) {
    EXPECT_TRUE(detector->Score(rows, options, &result).ok());
    EXPECT_EQ(result.verdicts.size(), 1u);
    v1::Verdict message;
    FillVerdict(*detector, result, 0, &message);
    EXPECT_EQ(message.by_t_squared(), result.verdicts[0].by_t_squared);
    EXPECT_EQ(message.anomalous(), rows != normal);
    return message;
  };
  EXPECT_TRUE(judge(shifted, {}).by_t_squared());
  EXPECT_FALSE(judge(broken, {}).by_t_squared());
  EXPECT_TRUE(judge(shifted, {.counterfactual = 2}).by_t_squared());
  EXPECT_FALSE(judge(normal, {}).by_t_squared()) << "no contributors, nothing to say of them";
  EXPECT_TRUE(judge(shifted, {}).by_t_squared());
  EXPECT_FALSE(judge(normal, {.explain_all = true}).by_t_squared());
  EXPECT_FALSE(judge(shifted, {.top_contributors = 0}).by_t_squared()) << "nobody asks";
}

TEST(MahalanobisDistance, OfSomeFeaturesIsThatOfTheirOwnCorrelation) {
  constexpr int kSize = 11;
  Random random(9);
  Eigen::MatrixXd root(kSize, kSize);
  for (int i = 0; i < root.size(); ++i) root.data()[i] = random.Normal();
  const Eigen::MatrixXd precision = root * root.transpose() + Eigen::MatrixXd::Identity(kSize, kSize);
  google::protobuf::RepeatedField<float> lower;
  for (int a = 0; a < kSize; ++a) {
    for (int b = 0; b <= a; ++b) lower.Add(static_cast<float>(precision(a, b)));
  }
  const Eigen::MatrixXd correlation = Matrix(lower, kSize).inverse();
  const MahalanobisDistance distance(lower, kSize);
  for (int trial = 0; trial < 20; ++trial) {
    std::vector<double> count(kSize), z(kSize), terms;
    std::vector<int> there;
    for (int f = 0; f < kSize; ++f) {
      z[static_cast<size_t>(f)] = random.Normal();
      if (f > 0 && random.Uniform() < 0.3 * (trial % 3)) continue;
      count[static_cast<size_t>(f)] = 2;
      there.push_back(f);
    }
    const auto size = static_cast<Eigen::Index>(there.size());
    Eigen::VectorXd known(size);
    Eigen::MatrixXd part(size, size);
    for (Eigen::Index a = 0; a < size; ++a) {
      known(a) = z[static_cast<size_t>(there[static_cast<size_t>(a)])];
      for (Eigen::Index b = 0; b < size; ++b) {
        part(a, b) = correlation(there[static_cast<size_t>(a)], there[static_cast<size_t>(b)]);
      }
    }
    const double expected = known.dot(part.inverse() * known) / static_cast<double>(size);
    EXPECT_NEAR(distance.Of(count, z, &terms), expected, 1e-3 * expected) << trial;
    for (size_t f = 0; f < kSize; ++f) EXPECT_GE(terms[f], 0);
  }
}

}  // namespace
}  // namespace astray
