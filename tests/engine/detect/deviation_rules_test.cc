#include "engine/detect/deviation_rules.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "engine/base/random.h"

namespace astray {
namespace {

const std::vector<std::string> kNames = {"flow", "pressure", "alarms"};
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

v1::Recipe Rules(const std::string& text) {
  v1::Recipe recipe;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &recipe)) << text;
  return recipe;
}

std::vector<float> Readings(size_t rows, uint64_t seed) {
  Random random(seed);
  std::vector<float> values;
  for (size_t i = 0; i < rows; ++i) {
    values.push_back(static_cast<float>(20 + 4 * random.Normal()));
    values.push_back(static_cast<float>(-100 + 30 * random.Normal()));
    values.push_back(static_cast<float>(random.UniformInt(9)));
  }
  return values;
}

// The formulas of recipe.proto, backwards.
double InUsersUnits(const v1::ScalerState& scaler, int column, double scaled) {
  if (scaler.scaling() == v1::LOG1P) return std::copysign(std::exp(std::abs(scaled)) - 1, scaled);
  return scaled * scaler.scale(column) + scaler.offset(column);
}

// Of the rules below, what is written in them.
bool LetGo(size_t feature, double reading, double expected) {
  const double size = std::abs(reading - expected);
  if (feature == 0) return size < 2.5 || size < 0.1 * std::abs(expected) || reading <= expected;
  if (feature == 1) return size < 2.5 || size < 0.25 * std::abs(expected);
  return size < 2.5 || reading >= expected;
}

// Of one vector.
const float* Counted(const DeviationRules& rules, const Pipeline& pipeline, std::span<const float> input,
                     std::span<const float> output, std::span<const float> observed, std::vector<float>* counted) {
  return rules.Counted(pipeline.scaler(),
                       {.count = 1,
                        .width = input.size(),
                        .outputs = output.size(),
                        .input = input.data(),
                        .output = output.data(),
                        .observed = observed.data()},
                       counted);
}

TEST(DeviationRules, AreInTheUsersUnitsWhateverTheScaling) {
  const v1::Recipe recipe = Rules(
      "rule { ignore_below: 2.5 } rule { feature: 'flow' ignore_below_ratio: 0.1 direction: ABOVE } "
      "rule { feature: 'flow' ignore_below: 1 } rule { feature: 'pressure' ignore_below_ratio: 0.25 } "
      "rule { feature: 'alarms' direction: BELOW }");
  for (const v1::Scaling scaling : {v1::STANDARD, v1::MIN_MAX, v1::ROBUST, v1::LOG1P}) {
    for (const uint32_t window : {1u, 4u}) {
      v1::FeaturesRecipe features;
      features.set_scaling(scaling);
      features.set_window(window);
      const auto pipeline = Pipeline::Fit(features, kNames, Readings(300, 1));
      ASSERT_TRUE(pipeline.ok()) << pipeline.status();
      const v1::ScalerState& scaler = pipeline->scaler().state();
      const DeviationRules rules = DeviationRules::Compile(recipe.rule(), *pipeline);
      EXPECT_FALSE(rules.empty());

      std::vector<float> rows = Readings(100, 2);
      Random random(window);
      for (int i = 0; i < 30; ++i) rows[random.UniformInt(rows.size())] = kNaN;
      Batch batch;
      ASSERT_TRUE(pipeline->Apply(rows, &batch).ok());
      const size_t width = pipeline->width();
      std::vector<float> counted;
      size_t let_go = 0, kept = 0;
      for (size_t i = 0; i < batch.vectors; ++i) {
        std::vector<float> output(width + 2, 7);  // networks of counts give more than the reconstruction
        for (size_t j = 0; j < width; ++j) {
          output[j] = batch.vector(i)[j] + static_cast<float>(random.Normal());
        }
        const auto observed = std::span<const float>(batch.observed).subspan(i * width, width);
        const float* const result = Counted(rules, *pipeline, batch.vector(i), output, observed, &counted);
        EXPECT_EQ(result[width], 7);
        for (size_t j = 0; j < width; ++j) {
          const double reading = rows[i * 3 + j];
          const double expected = InUsersUnits(scaler, static_cast<int>(j % 3), output[j]);
          if (std::isnan(reading)) {
            EXPECT_EQ(result[j], output[j]);
            continue;
          }
          const bool gone = LetGo(j % 3, reading, expected);
          // The network sees float32: a hair's breadth around a limit may go either way.
          if (gone != LetGo(j % 3, reading + 1e-4, expected) || gone != LetGo(j % 3, reading - 1e-4, expected))
            continue;
          EXPECT_EQ(result[j], gone ? batch.vector(i)[j] : output[j]) << v1::Scaling_Name(scaling) << " " << j;
          (gone ? let_go : kept) += 1;
        }
      }
      EXPECT_GT(let_go, 50u);
      EXPECT_GT(kept, 20u) << v1::Scaling_Name(scaling);
    }
  }
}

TEST(DeviationRules, WithoutAnyTheOutputIsNotTouched) {
  v1::FeaturesRecipe features;
  features.set_scaling(v1::STANDARD);
  features.set_window(1);
  const auto pipeline = Pipeline::Fit(features, kNames, Readings(50, 1));
  const DeviationRules rules = DeviationRules::Compile({}, *pipeline);
  EXPECT_TRUE(rules.empty());
  const std::vector<float> output = {1, 2, 3}, input = {0, 0, 0}, observed = {1, 1, 1};
  std::vector<float> counted;
  EXPECT_EQ(Counted(rules, *pipeline, input, output, observed, &counted), output.data());
}

// A network that overflows must not pass for one that agrees.
TEST(DeviationRules, AnOutputThatIsNoNumberCounts) {
  v1::FeaturesRecipe features;
  features.set_scaling(v1::STANDARD);
  features.set_window(1);
  const auto pipeline = Pipeline::Fit(features, kNames, Readings(50, 1));
  const DeviationRules rules = DeviationRules::Compile(
      Rules("rule { ignore_below: 1e9 ignore_below_ratio: 2 } rule { feature: 'flow' direction: ABOVE }").rule(),
      *pipeline);
  const std::vector<float> input = {0, 0, 0}, observed = {1, 1, 1};
  const std::vector<float> output = {kNaN, std::numeric_limits<float>::infinity(), kNaN};
  std::vector<float> counted;
  const float* const result = Counted(rules, *pipeline, input, output, observed, &counted);
  EXPECT_TRUE(std::isnan(result[0]));
  EXPECT_EQ(result[1], output[1]);
  EXPECT_TRUE(std::isnan(result[2]));
}

std::string Refusal(const std::string& text, v1::ScoreKind kind = v1::WINDOW_NORMALISED,
                    v1::Loss loss = v1::MEAN_SQUARED_ERROR) {
  const absl::Status status = CheckDeviationRules(Rules(text).rule(), kNames, kind, loss);
  EXPECT_EQ(status.ok() ? absl::StatusCode::kInvalidArgument : status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(DeviationRules, WhatCannotBeARuleIsRefused) {
  EXPECT_EQ(Refusal("rule { ignore_below: 1 } rule { feature: 'flw' ignore_below: 1 }"),
            "rule[1].feature: expected a feature of the model, got 'flw'; did you mean 'flow'?");
  EXPECT_EQ(Refusal("rule { feature: 'pressures\\n' ignore_below: 1 }"),
            "rule[0].feature: expected a feature of the model, got 'pressures\\n'; did you mean 'pressure'?");
  EXPECT_EQ(Refusal("rule { ignore_below: -1 }"), "rule[0].ignore_below: expected a finite number from 0, got -1");
  EXPECT_EQ(Refusal("rule { ignore_below_ratio: nan }"),
            "rule[0].ignore_below_ratio: expected a finite number from 0, got nan");
  EXPECT_EQ(Refusal("rule { ignore_below: inf }"), "rule[0].ignore_below: expected a finite number from 0, got inf");
  EXPECT_EQ(Refusal("rule { feature: 'flow' }"),
            "rule[0]: expected ignore_below, ignore_below_ratio or direction, got none of them");
  EXPECT_EQ(Refusal("rule { feature: 'flow' direction: ABOVE } rule { ignore_below: 1 direction: BELOW }"),
            "rule[1].direction: expected that of the other rules of every feature: ABOVE and BELOW together let every "
            "deviation go");
  EXPECT_EQ(Refusal("rule { direction: BELOW } rule { feature: 'flow' direction: ABOVE }"),
            "rule[1].direction: expected that of the other rules of 'flow': ABOVE and BELOW together let every "
            "deviation go");
  EXPECT_EQ(Refusal("rule { feature: 'flow' direction: ABOVE } rule { feature: 'pressure' direction: BELOW }"), "");
  EXPECT_EQ(Refusal("rule { direction: ABOVE } rule { feature: 'flow' direction: ABOVE }"), "");

  v1::Recipe recipe = Rules("rule { ignore_below: 1 }");
  recipe.mutable_rule(0)->set_direction(static_cast<v1::DeviationRule::Direction>(7));
  EXPECT_EQ(CheckDeviationRules(recipe.rule(), kNames, v1::MEAN_SQUARED, v1::HUBER).message(),
            "rule[0].direction: expected BOTH, ABOVE or BELOW, got 7");
  for (int i = 0; i < kMaxDeviationRules; ++i) recipe.add_rule()->set_ignore_below(1);
  EXPECT_EQ(CheckDeviationRules(recipe.rule(), kNames, v1::MEAN_SQUARED, v1::HUBER).message(),
            "rule: expected at most 1000, got 1001");
}

TEST(DeviationRules, NeedAScoreThatIsNoneWhereNothingDeviates) {
  for (const v1::Loss loss : {v1::BINARY_CROSS_ENTROPY, v1::ZERO_INFLATED_NEGATIVE_BINOMIAL}) {
    EXPECT_EQ(Refusal("rule { ignore_below: 1 }", v1::TRAINING_LOSS, loss),
              "rule: score.kind TRAINING_LOSS of loss " + v1::Loss_Name(loss) +
                  " is not 0 where nothing deviates; use another score.kind");
    EXPECT_EQ(Refusal("", v1::TRAINING_LOSS, loss), "");
    EXPECT_EQ(Refusal("rule { ignore_below: 1 }", v1::WINDOW_NORMALISED, loss), "");
  }
  EXPECT_EQ(Refusal("rule { ignore_below: 1 }", v1::TRAINING_LOSS, v1::HUBER), "");
}

}  // namespace
}  // namespace astray
