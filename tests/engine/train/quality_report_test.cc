#include "engine/train/quality_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/base/random.h"
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

// The warning on a training that went like this: pairs of training and validation loss, every ten steps.
std::string DivergenceOf(const std::vector<std::pair<double, double>>& losses) {
  v1::TrainingReport report;
  for (const auto& [training, validation] : losses) {
    v1::LossPoint* point = report.add_losses();
    point->set_step(static_cast<uint64_t>(10 * report.losses_size()));
    point->set_training(training);
    point->set_validation(validation);
  }
  const Dataset data = Circle(100);
  v1::FeaturesRecipe features;
  features.set_scaling(v1::STANDARD);
  features.set_window(1);
  const auto pipeline = Pipeline::Fit(features, data.feature_names, data.values);
  EXPECT_TRUE(pipeline.ok()) << pipeline.status();
  AddWarnings(*pipeline, &report);
  return TextOf(report, v1::Warning::VALIDATION_DIVERGES);
}

TEST(QualityReport, SaysThatValidationDiverges) {
  EXPECT_THAT(DivergenceOf({{1, 1}, {0.5, 0.6}, {0.3, 0.7}, {0.1, 0.9}}),
              HasSubstr("validation loss rose from 0.6 at step 20 to 0.9 at step 40 while training loss fell"));
  EXPECT_EQ(DivergenceOf({{1, 1}, {0.5, 0.6}, {0.4, 0.61}}), "") << "noise is no divergence";
  EXPECT_EQ(DivergenceOf({{1, 1}, {0.5, 0.6}, {0.9, 0.9}}), "") << "both rose: a step too large, not learning by heart";
  EXPECT_EQ(DivergenceOf({{1, 1}, {0.5, 0.6}, {0.4, 0.5}}), "");
}

TEST(QualityReport, NamesConstantAndMissingColumns) {
  Dataset data = Circle(1000);
  for (size_t i = 0; i < data.values.size(); i += 8) data.values[i] = 4;
  data.values[1] = std::numeric_limits<float>::quiet_NaN();
  const v1::TrainingReport report = ReportOf("training { max_steps: 50 }", data);
  EXPECT_EQ(TextOf(report, v1::Warning::CONSTANT_FEATURE),
            "column 's0' is constant (4) in training: any other value will look anomalous");
  EXPECT_THAT(TextOf(report, v1::Warning::MISSING_VALUES),
              testing::AnyOf("", "column 's1': 1 of 700 values are missing"));
}

TEST(QualityReport, ComparisonIsThatOfTheNetworksGiven) {
  // An untrained network in both places: the same errors in both.
  const Dataset data = Circle(300);
  const auto recipe = CompleteRecipe(*ParseRecipe("name: 'm'", "r"), data);
  ASSERT_TRUE(recipe.ok());
  auto network = Network::Create(BuildNetworkSpec(*recipe, 8));
  ASSERT_TRUE(network.ok());
  Random random(1);
  network->Initialise(random);
  const std::vector<float> observed(data.values.size(), 1.0f);
  const VectorSet set(data.values, observed, 8, 1, {{0, 300}});
  const auto comparison = CompareReconstructions(*recipe, *network, network->Clone(), set, set, set);
  ASSERT_TRUE(comparison.ok()) << comparison.status();
  EXPECT_EQ(comparison->denoising(), comparison->untrained_denoising());
  EXPECT_EQ(comparison->clean(), comparison->untrained_clean());
  // Levels from U(0, 1): E s^2 = 1/3.
  EXPECT_NEAR(comparison->corruption(), 1.0 / 3, 0.05);
}

}  // namespace
}  // namespace astray
