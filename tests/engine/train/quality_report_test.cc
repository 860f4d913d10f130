#include "engine/train/quality_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/base/random.h"
#include "engine/train/network_recipe.h"
#include "engine/train/recipe.h"
#include "engine/train/train_job.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

// Points near a circle in eight dimensions: no line or plane is as close.
Dataset Circle(size_t rows) {
  Dataset data;
  for (int j = 0; j < 8; ++j) data.feature_names.push_back("s" + std::to_string(j));
  Random random(1);
  for (size_t i = 0; i < rows; ++i) {
    const double t = 2 * M_PI * random.Uniform();
    for (int j = 0; j < 8; ++j) {
      data.values.push_back(static_cast<float>(std::sin((1 + j % 4) * t + j) + 0.02 * random.Normal()));
    }
  }
  return data;
}

// Independent noise: nothing to learn.
Dataset Noise(size_t rows) {
  Dataset data{.feature_names = {"a", "b", "c", "d"}};
  Random random(1);
  for (size_t i = 0; i < rows * 4; ++i) data.values.push_back(static_cast<float>(random.Normal()));
  return data;
}

v1::TrainingReport ReportOf(const std::string& recipe, const Dataset& data) {
  const auto trained = Train(*ParseRecipe("name: 'm' " + recipe, "r"), data, {});
  EXPECT_TRUE(trained.ok()) << trained.status();
  return trained->report;
}

std::string TextOf(const v1::TrainingReport& report, v1::Warning::Kind kind) {
  for (const v1::Warning& warning : report.warnings()) {
    if (warning.kind() == kind) return warning.text();
  }
  return "";
}

TEST(QualityReport, AHealthyTrainingHasNoWarnings) {
  const v1::TrainingReport report = ReportOf("", Circle(4000));
  EXPECT_EQ(report.warnings_size(), 0) << report.DebugString();
  const v1::Comparison& comparison = report.comparison();
  EXPECT_LT(comparison.denoising(), comparison.pca_denoising());
  EXPECT_LT(comparison.denoising(), 0.2 * comparison.untrained_denoising());
  EXPECT_LT(comparison.denoising(), 0.5 * comparison.corruption());
  EXPECT_LT(comparison.clean(), comparison.denoising());
  EXPECT_LT(comparison.noise_gain(), 0.5);
}

TEST(QualityReport, SaysThatANetworkCopiesItsInput) {
  // So little noise that the identity is the best answer.
  const v1::TrainingReport report = ReportOf(
      "corruption { gaussian { sigma: 0.001 } } network { encoder: 64 encoder: 32 } training { max_steps: 1500 "
      "patience: 100 }",
      Noise(2000));
  EXPECT_THAT(TextOf(report, v1::Warning::COPIES_INPUT), HasSubstr("copies its input"));
  EXPECT_GT(report.comparison().noise_gain(), 0.9);
}

TEST(QualityReport, SaysThatPcaDoesAsWell) {
  // Hardly trained.
  const v1::TrainingReport report = ReportOf("training { max_steps: 5 steps_per_validation: 5 }", Circle(1000));
  EXPECT_THAT(TextOf(report, v1::Warning::PCA_AS_GOOD), HasSubstr("components denoises the held-out data as well"));
}

// The warnings on a report alone; the data calls for none.
v1::TrainingReport Judged(v1::TrainingReport report) {
  const Dataset data = Circle(100);
  v1::FeaturesRecipe features;
  features.set_scaling(v1::STANDARD);
  features.set_window(1);
  const auto pipeline = Pipeline::Fit(features, data.feature_names, data.values);
  EXPECT_TRUE(pipeline.ok()) << pipeline.status();
  AddWarnings(v1::Recipe(), *pipeline, &report);
  return report;
}

TEST(QualityReport, WarnsFromItsBoundsOn) {
  v1::TrainingReport report;
  v1::Comparison* comparison = report.mutable_comparison();
  comparison->set_denoising(0.2);
  comparison->set_pca_denoising(0.21);
  comparison->set_pca_components(3);
  comparison->set_noise_gain(0.89);
  EXPECT_EQ(Judged(report).warnings_size(), 0);
  comparison->set_noise_gain(0.91);
  EXPECT_THAT(TextOf(Judged(report), v1::Warning::COPIES_INPUT), HasSubstr("91 % of the corruption comes back"));
  comparison->set_noise_gain(0.5);
  comparison->set_pca_denoising(0.2);
  EXPECT_THAT(TextOf(Judged(report), v1::Warning::PCA_AS_GOOD), HasSubstr("PCA with 3 components"));
  comparison->set_pca_denoising(0);
  comparison->set_pca_components(0);
  EXPECT_EQ(Judged(report).warnings_size(), 0) << "not computed";
}

// The warning on a training that went like this: pairs of training and validation loss, every ten steps.
std::string DivergenceOf(const std::vector<std::pair<double, double>>& losses) {
  v1::TrainingReport report;
  for (const auto& [training, validation] : losses) {
    v1::LossPoint* point = report.add_losses();
    point->set_step(static_cast<uint64_t>(10 * report.losses_size()));
    point->set_training(training);
    point->set_validation(validation);
  }
  return TextOf(Judged(report), v1::Warning::VALIDATION_DIVERGES);
}

TEST(QualityReport, SaysThatValidationDiverges) {
  EXPECT_THAT(DivergenceOf({{1, 1}, {0.5, 0.6}, {0.3, 0.7}, {0.1, 0.9}}),
              HasSubstr("validation loss rose from 0.6 at step 20 to 0.9 at step 40 while training loss fell"));
  EXPECT_EQ(DivergenceOf({{1, 1}, {0.5, 0.6}, {0.4, 0.61}}), "") << "noise is no divergence";
  EXPECT_EQ(DivergenceOf({{1, 1}, {0.5, 0.6}, {0.9, 0.9}}), "") << "both rose: a step too large, not learning by heart";
  EXPECT_EQ(DivergenceOf({{1, 1}, {0.5, 0.6}, {0.4, 0.5}}), "");
}

TEST(QualityReport, NamesConstantAndMissingColumns) {
  // In time: the first 125 rows teach.
  Dataset data = Circle(150);
  data.timestamps.assign(150, "t");
  for (size_t i = 0; i < data.values.size(); i += 8) data.values[i] = 4;
  for (size_t row = 0; row < 7; ++row) data.values[row * 8 + 1] = std::numeric_limits<float>::quiet_NaN();
  const v1::TrainingReport report = ReportOf("features { window: 1 } training { max_steps: 50 }", data);
  EXPECT_EQ(TextOf(report, v1::Warning::CONSTANT_FEATURE),
            "column 's0' is constant (4) in training: any other value will look anomalous");
  EXPECT_EQ(TextOf(report, v1::Warning::MISSING_VALUES), "column 's1': 7 of 125 values are missing");
}

// Sixteen independent columns but for the last, which repeats the first.
Dataset Wide(size_t rows) {
  Dataset data;
  for (int j = 0; j < 16; ++j) data.feature_names.push_back("w" + std::to_string(j));
  Random random(1);
  for (size_t i = 0; i < rows; ++i) {
    const size_t begin = data.values.size();
    for (int j = 0; j < 15; ++j) data.values.push_back(static_cast<float>(random.Normal()));
    data.values.push_back(data.values[begin]);
  }
  return data;
}

TEST(QualityReport, SaysThatTheCodeIsTooSmall) {
  const v1::TrainingReport narrow =
      ReportOf("network { encoder: 64 encoder: 2 } corruption { gaussian { sigma: 0.1 } }", Wide(2000));
  EXPECT_THAT(TextOf(narrow, v1::Warning::BOTTLENECK_TOO_SMALL), HasSubstr("the code of 2 units is too small"));
  EXPECT_THAT(TextOf(narrow, v1::Warning::BOTTLENECK_TOO_SMALL), HasSubstr("PCA takes 14 components to keep 90 %"));
  EXPECT_EQ(TextOf(narrow, v1::Warning::OVER_STRONG_CORRUPTION), "") << "it is the code, not the corruption";
  const v1::TrainingReport wide = ReportOf("corruption { gaussian { sigma: 0.1 } }", Wide(2000));
  EXPECT_EQ(TextOf(wide, v1::Warning::BOTTLENECK_TOO_SMALL), "");
  // Two units are enough for a circle, though PCA would need more.
  const v1::TrainingReport circle = ReportOf(
      "network { encoder: 64 encoder: 2 } training { max_steps: 4000 patience: "
      "100 } corruption { gaussian { sigma: 0.1 } }",
      Circle(2000));
  EXPECT_EQ(TextOf(circle, v1::Warning::BOTTLENECK_TOO_SMALL), "") << circle.comparison().DebugString();
}

TEST(QualityReport, SaysThatCorruptionIsTooStrong) {
  const v1::TrainingReport strong = ReportOf("corruption { gaussian { sigma: 5 } }", Circle(2000));
  EXPECT_THAT(TextOf(strong, v1::Warning::OVER_STRONG_CORRUPTION), HasSubstr("near one average for all"));
  EXPECT_EQ(TextOf(strong, v1::Warning::BOTTLENECK_TOO_SMALL), "");
  EXPECT_EQ(
      TextOf(ReportOf("corruption { gaussian { sigma: 0.5 } }", Circle(2000)), v1::Warning::OVER_STRONG_CORRUPTION),
      "");
}

TEST(QualityReport, SaysThatTrainingSawOtherRowsThanUseDoes) {
  // Eight copies of one value, all but a tenth hidden: a linear network learns to add up few, and is given all.
  Dataset copies = Circle(2000);
  for (size_t i = 0; i < copies.values.size(); ++i) copies.values[i] = copies.values[i - i % 8];
  const v1::TrainingReport hidden =
      ReportOf("network { encoder: 8 activation: LINEAR } corruption { masking { keep_probability: 0.1 } }", copies);
  EXPECT_THAT(TextOf(hidden, v1::Warning::CORRUPTION_MISMATCH), HasSubstr("clean rows are rebuilt worse"));
  Dataset gaps = Circle(2000);
  for (size_t i = 0; i < gaps.values.size(); i += 20) gaps.values[i] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(TextOf(ReportOf("training { max_steps: 100 }", gaps), v1::Warning::CORRUPTION_MISMATCH),
              HasSubstr("5.0 % of the values are missing, but no corruption hides values"));
  EXPECT_EQ(
      TextOf(ReportOf("corruption { masking { keep_probability: 0.9 } } ", gaps), v1::Warning::CORRUPTION_MISMATCH),
      "");
}

TEST(QualityReport, SaysThatOutputsCannotReachTheRows) {
  // In time, and rising: what is held out lies beyond what training saw.
  Dataset rising = Circle(1000);
  rising.timestamps.assign(1000, "t");
  for (size_t i = 0; i < rising.values.size(); ++i) rising.values[i] += static_cast<float>(i) / 1000;
  EXPECT_THAT(TextOf(ReportOf("features { scaling: MIN_MAX window: 1 } training { max_steps: 50 }", rising),
                     v1::Warning::OUTPUT_RANGE),
              HasSubstr("of the held-out values lie where SIGMOID outputs cannot reach"));
  EXPECT_EQ(TextOf(ReportOf("features { window: 1 } training { max_steps: 50 }", rising), v1::Warning::OUTPUT_RANGE),
            "");
}

// x -> gain x in eight dimensions.
Network Scaling(const v1::Recipe& recipe, float gain) {
  auto network = Network::Create(BuildNetworkSpec(recipe, 8));
  EXPECT_TRUE(network.ok()) << network.status();
  for (size_t j = 0; j < 8; ++j) {
    network->parameters()[network->offsets(0).weights + j * 8 + j] = 1;
    network->parameters()[network->offsets(1).weights + j * 8 + j] = gain;
  }
  return *std::move(network);
}

TEST(QualityReport, ErrorsAreThoseOfKnownNetworks) {
  const Dataset data = Circle(2000);
  const auto recipe = CompleteRecipe(
      *ParseRecipe("name: 'm' network { encoder: 8 activation: LINEAR } corruption { gaussian { sigma: 0.5 } }", "r"),
      data);
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  const std::vector<float> observed(data.values.size(), 1.0f);
  const VectorSet set(data.values, observed, 8, 1, {{0, 2000}});
  const auto half = CompareReconstructions(*recipe, Scaling(*recipe, 0.5f), Scaling(*recipe, 1), set, set, set);
  ASSERT_TRUE(half.ok()) << half.status();
  double power = 0;
  for (const float value : data.values) power += double{value} * value;
  power /= static_cast<double>(data.values.size());
  EXPECT_NEAR(half->corruption(), 0.25, 0.01);
  EXPECT_NEAR(half->clean(), 0.25 * power, 1e-6);
  EXPECT_NEAR(half->noise_gain(), 0.5, 1e-6);
  EXPECT_NEAR(half->untrained_clean(), 0, 1e-12);
  EXPECT_NEAR(half->untrained_denoising(), half->corruption(), 1e-6);
  // With x clean and n noise: |(n - x) / 2|² and |(n + x) / 2|², which add up to half of |n|² + |x|².
  EXPECT_NEAR(half->denoising() + half->copying(), 0.5 * (half->corruption() + power), 1e-6);
  EXPECT_GT(std::abs(half->denoising() - half->copying()), 1e-5) << "noise and data are never quite uncorrelated";

  const auto copy = CompareReconstructions(*recipe, Scaling(*recipe, 1), Scaling(*recipe, 0), set, set, set);
  ASSERT_TRUE(copy.ok()) << copy.status();
  EXPECT_NEAR(copy->copying(), 0, 1e-12);
  EXPECT_NEAR(copy->noise_gain(), 1, 1e-6);
  EXPECT_NEAR(copy->untrained_denoising(), power, 1e-6);
}

// A comparison of an untrained network in both places, on noise of this width.
v1::Comparison Untrained(size_t width, const std::string& network) {
  Dataset data{.feature_names = std::vector<std::string>(width, "f"), .values = std::vector<float>(40 * width)};
  Random random(1);
  random.FillNormal(data.values);
  const auto recipe =
      CompleteRecipe(*ParseRecipe("name: 'm' corruption { gaussian { sigma: 0.01 } } " + network, "r"), data);
  EXPECT_TRUE(recipe.ok()) << recipe.status();
  const auto trained = Network::Create(BuildNetworkSpec(*recipe, width));
  const std::vector<float> observed(data.values.size(), 1.0f);
  const VectorSet set(data.values, observed, width, 1, {{0, 40}});
  const auto comparison = CompareReconstructions(*recipe, *trained, *trained, set, set, set);
  EXPECT_TRUE(comparison.ok()) << comparison.status();
  return *comparison;
}

TEST(QualityReport, PcaHasNoMoreComponentsThanTheCodeAndNoneWhereVectorsAreTooWide) {
  EXPECT_EQ(Untrained(4, "network { encoder: 4 }").pca_components(), 4u) << "noise this weak is best kept";
  EXPECT_EQ(Untrained(4, "network { encoder: 2 }").pca_components(), 2u);
  const v1::Comparison wide = Untrained(1025, "network { encoder: 1 }");
  EXPECT_EQ(wide.pca_components(), 0u);
  EXPECT_EQ(wide.pca_denoising(), 0);
  EXPECT_GT(wide.denoising(), 0.5);
}

}  // namespace
}  // namespace astray
