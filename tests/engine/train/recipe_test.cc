#include "engine/train/recipe.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "engine/base/file.h"
#include "engine/base/random.h"
#include "engine/features/pipeline.h"
#include "engine/train/network_recipe.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

Dataset MakeData(size_t rows, size_t features, bool timestamps) {
  Dataset data;
  for (size_t j = 0; j < features; ++j) data.feature_names.push_back("f" + std::to_string(j));
  Random random(1);
  for (size_t i = 0; i < rows * features; ++i) data.values.push_back(static_cast<float>(random.Normal()));
  if (timestamps) data.timestamps.assign(rows, "t");
  return data;
}

v1::Recipe Complete(const std::string& text, const Dataset& data) {
  auto recipe = ParseRecipe("name: 'm' " + text, "r.textproto");
  EXPECT_TRUE(recipe.ok()) << recipe.status();
  recipe = CompleteRecipe(*recipe, data);
  EXPECT_TRUE(recipe.ok()) << recipe.status();
  return *recipe;
}

std::string Refusal(const std::string& text) {
  const auto recipe = ParseRecipe("name: 'm' " + text, "r.textproto");
  EXPECT_TRUE(recipe.ok()) << recipe.status();
  const auto complete = CompleteRecipe(*recipe, MakeData(500, 3, true));
  EXPECT_EQ(complete.status().code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(complete.status().message());
}

TEST(Recipe, AnUnknownFieldIsRefusedWithFileLineAndColumn) {
  EXPECT_THAT(std::string(ParseRecipe("name: 'm'\n  wndow: 3\n", "pump.textproto").status().message()),
              testing::AllOf(StartsWith("pump.textproto:2:"), HasSubstr("wndow")));
  EXPECT_THAT(std::string(ParseRecipe("features { scaling: SOME }", "p").status().message()), HasSubstr("SOME"));
  EXPECT_THAT(std::string(ParseRecipe("seed: -1", "p").status().message()), StartsWith("p:1:"));
  EXPECT_FALSE(ParseRecipe(std::string(10'000, '{'), "p").ok());
}

TEST(Recipe, TSquaredIsOfWindowsWithoutRules) {
  const auto rows = [](const std::string& text, size_t features = 3) {
    return Complete(text, MakeData(500, features, true)).score().t_squared_rows();
  };
  EXPECT_EQ(rows(""), 5u);
  EXPECT_EQ(rows("features { window: 3 }"), 3u);
  EXPECT_EQ(rows("features { window: 1 }"), 0u);
  EXPECT_EQ(rows("", 128), 5u);
  EXPECT_EQ(rows("", 129), 0u);
  EXPECT_EQ(rows("rule { ignore_below: 1 }"), 0u);
  EXPECT_EQ(rows("score { kind: TRAINING_LOSS }"), 0u);
  EXPECT_EQ(rows("score { t_squared_rows: 0 }"), 0u);
  EXPECT_EQ(rows("features { window: 1 } score { t_squared_rows: 1 }"), 1u);
  EXPECT_EQ(Refusal("features { window: 4 } score { t_squared_rows: 5 }"),
            "score.t_squared_rows: expected at most the window of 4 rows, got 5");
  EXPECT_THAT(Refusal("score { t_squared_rows: 5 } rule { ignore_below: 1 }"),
              HasSubstr("score.t_squared_rows: expected 0 with rules"));
  EXPECT_THAT(Refusal("score { kind: TRAINING_LOSS t_squared_rows: 5 }"),
              HasSubstr("score.t_squared_rows: expected 0 with score.kind TRAINING_LOSS"));
  const auto wide = CompleteRecipe(*ParseRecipe("name: 'm' features { window: 2 } score { t_squared_rows: 1 }", "r"),
                                   MakeData(500, 129, true));
  EXPECT_EQ(wide.status().message(), "score.t_squared_rows: expected at most 128 features, got 129");
}

TEST(Recipe, PrototypesAreOfTablesWithoutRules) {
  const auto prototypes = [](const std::string& text, bool timestamps = false) {
    return Complete(text, MakeData(500, 3, timestamps)).score().prototypes();
  };
  EXPECT_EQ(prototypes(""), 256u);
  EXPECT_EQ(prototypes("", true), 0u) << "windows";
  EXPECT_EQ(prototypes("features { window: 1 }", true), 256u);
  EXPECT_EQ(prototypes("rule { ignore_below: 1 }"), 0u);
  EXPECT_EQ(prototypes("features { shape { height: 1 width: 3 channels: 1 } }"), 0u) << "an image";
  EXPECT_EQ(prototypes("score { t_squared_rows: 1 }"), 0u);
  EXPECT_EQ(prototypes("score { prototypes: 0 }"), 0u);
  EXPECT_EQ(prototypes("score { kind: TRAINING_LOSS prototypes: 1024 }"), 1024u);
  EXPECT_EQ(Refusal("features { window: 1 } score { prototypes: 1025 }"),
            "score.prototypes: expected at most 1024, got 1025");
  EXPECT_EQ(Refusal("score { prototypes: 1 }"), "score.prototypes: expected 0 for windows");
  EXPECT_EQ(Refusal("features { window: 1 } score { t_squared_rows: 1 prototypes: 1 }"),
            "score.prototypes: expected 0 with score.t_squared_rows");
  EXPECT_EQ(Refusal("features { window: 1 } score { prototypes: 1 } rule { ignore_below: 1 }"),
            "score.prototypes: expected 0 with rules, which are about what the network expects");
}

TEST(Recipe, DefaultsAreChosenFromTheData) {
  const v1::Recipe timed = Complete("", MakeData(500, 3, true));
  EXPECT_EQ(timed.seed(), 1u);
  EXPECT_EQ(timed.features().scaling(), v1::STANDARD);
  EXPECT_EQ(timed.features().window(), 20u);
  EXPECT_THAT(timed.network().encoder(), ElementsAre(256, 120)) << "twice the 60 inputs";
  EXPECT_EQ(timed.network().output_activation(), v1::LINEAR);
  EXPECT_EQ(timed.loss(), v1::MEAN_SQUARED_ERROR);
  ASSERT_EQ(timed.corruption_size(), 1);
  EXPECT_EQ(timed.corruption(0).gaussian().max_sigma(), 1);
  EXPECT_EQ(timed.network().activation(), v1::RELU);
  EXPECT_EQ(timed.training().batch_size(), 128u);
  EXPECT_EQ(timed.training().max_steps(), 2000u);
  EXPECT_EQ(timed.training().patience(), 10u);
  EXPECT_EQ(timed.training().steps_per_validation(), 50u);
  EXPECT_EQ(timed.training().validation_fraction(), 0.1f);
  EXPECT_EQ(timed.training().adam().learning_rate(), 0.002f);
  EXPECT_EQ(timed.training().adam().beta1(), 0.9f);
  EXPECT_EQ(timed.training().adam().beta2(), 0.999f);
  EXPECT_EQ(timed.training().adam().epsilon(), 1e-8f);
  EXPECT_TRUE(timed.training().adam().has_weight_decay());
  EXPECT_EQ(timed.calibration().holdout_fraction(), 0.2f);
  EXPECT_EQ(timed.score().kind(), v1::SCORE_KIND_UNSPECIFIED);  // chosen after the training
  EXPECT_FALSE(timed.calibration().has_false_positive_rate()) << "chosen when the held-out errors are counted";

  EXPECT_EQ(Complete("", MakeData(500, 3, false)).features().window(), 1u) << "rows of no order";
  EXPECT_EQ(Complete("", MakeData(500, 3, false)).training().validation_fraction(), 0.05f);
  EXPECT_EQ(Complete("", MakeData(200, 3, true)).features().window(), 20u);
  EXPECT_EQ(Complete("", MakeData(999, 3, true)).features().window(), 20u);
  EXPECT_EQ(Complete("", MakeData(1000, 3, true)).features().window(), 40u);
  EXPECT_EQ(Complete("", MakeData(1000, 1, true)).features().window(), 60u);
  EXPECT_EQ(Complete("", MakeData(999, 1, true)).features().window(), 20u);
  EXPECT_EQ(Complete("", MakeData(199, 3, true)).features().window(), 10u);
  EXPECT_EQ(Complete("", MakeData(100, 3, true)).features().window(), 10u);
  EXPECT_EQ(Complete("", MakeData(99, 3, true)).features().window(), 1u) << "too few rows";
  EXPECT_EQ(Complete("", MakeData(200, Pipeline::kMaxWidth / 19, true)).features().window(), 1u) << "too wide";
  EXPECT_THAT(Complete("", MakeData(500, 50, true)).network().encoder(), ElementsAre(256, 256));
  EXPECT_EQ(Complete("", MakeData(40, 3, false)).training().batch_size(), 20u);
}

TEST(Recipe, SingleRowsAreKeptBackAsFarAsTheRateTakesThem) {
  const auto held_out = [](const std::string& text, size_t rows) {
    return Complete(text, MakeData(rows, 3, false)).calibration().holdout_fraction();
  };
  EXPECT_EQ(held_out("", 5000), 0.1f);
  // 99 rows resolve 1 %, and a tenth of them are spare.
  EXPECT_FLOAT_EQ(held_out("", 726), 0.15f);
  EXPECT_EQ(held_out("", 400), 0.1f) << "1 % is out of reach";
  EXPECT_EQ(held_out("calibration { false_positive_rate: 0.01 }", 400), 0.2f) << "but it was asked for";
  EXPECT_EQ(held_out("calibration { false_positive_rate: 0.5 }", 400), 0.1f);
  EXPECT_FLOAT_EQ(held_out("calibration { block_rows: 3 }", 2178), 0.15f);
  EXPECT_EQ(held_out("calibration { holdout_fraction: 0.3 }", 5000), 0.3f);
  EXPECT_EQ(held_out("features { window: 5 }", 5000), 0.2f);
}

TEST(Recipe, OutputAndCorruptionFitTheScaling) {
  const v1::Recipe recipe = Complete("features { scaling: MIN_MAX }", MakeData(500, 3, true));
  EXPECT_EQ(recipe.network().output_activation(), v1::SIGMOID);
  EXPECT_FLOAT_EQ(recipe.corruption(0).gaussian().max_sigma(), 0.25f);
  EXPECT_EQ(Complete("features { scaling: ROBUST }", MakeData(500, 3, true)).network().output_activation(), v1::LINEAR);
}

TEST(Recipe, WhatIsGivenStays) {
  const v1::Recipe recipe = Complete(
      "seed: 7 features { scaling: ROBUST window: 3 } network { encoder: 5 activation: TANH } "
      "corruption { masking { keep_probability: 0.5 } } training { sgd { learning_rate: 0.1 } max_steps: 3 } "
      "score { kind: MEAN_SQUARED } calibration { false_positive_rate: 0.2 holdout_fraction: 0.3 }",
      MakeData(500, 3, true));
  EXPECT_EQ(recipe.seed(), 7u);
  EXPECT_EQ(recipe.features().window(), 3u);
  EXPECT_THAT(recipe.network().encoder(), ElementsAre(5));
  EXPECT_EQ(recipe.network().activation(), v1::TANH);
  EXPECT_EQ(recipe.corruption_size(), 1);
  EXPECT_TRUE(recipe.training().has_sgd());
  EXPECT_EQ(recipe.training().max_steps(), 3u);
  EXPECT_EQ(recipe.score().kind(), v1::MEAN_SQUARED);
  EXPECT_DOUBLE_EQ(recipe.calibration().false_positive_rate(), 0.2);
}

TEST(Recipe, ACompleteRecipeReadsBackEqual) {
  const v1::Recipe recipe =
      Complete("features { scaling: MIN_MAX } loss: BINARY_CROSS_ENTROPY", MakeData(500, 3, true));
  const auto again = ParseRecipe(FormatRecipe(recipe), "again");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(recipe, *again));
  EXPECT_TRUE(
      google::protobuf::util::MessageDifferencer::Equals(recipe, *CompleteRecipe(recipe, MakeData(500, 3, true))));
}

TEST(Recipe, FieldsThatDoNotGoTogetherAreRefusedWithTheReason) {
  EXPECT_EQ(
      Refusal("features { scaling: STANDARD } network { output_activation: SIGMOID }"),
      "network.output_activation: SIGMOID reaches only (0, 1), but features.scaling STANDARD makes targets outside "
      "it; use LINEAR, or MIN_MAX scaling");
  for (const char* activation : {"RELU", "TANH"}) {
    EXPECT_THAT(Refusal(std::string("network { output_activation: ") + activation + " }"),
                HasSubstr("cannot reach every scaled value"));
  }
  EXPECT_THAT(
      Refusal("corruption { bit_flip { probability: 0.1 } }"),
      HasSubstr("corruption[0].bit_flip: turns 0 into 1 and 1 into 0, but features.scaling is STANDARD; use MIN_MAX"));
  EXPECT_THAT(Refusal("rule { feature: 'c' ignore_below: 1 } rule { feature: 'flow' ignore_below: 1 }"),
              StartsWith("rule[0].feature: expected a feature of the model, got 'c'; did you mean '"));
  EXPECT_THAT(
      Refusal("rule { ignore_below: 1 } score { kind: TRAINING_LOSS } loss: BINARY_CROSS_ENTROPY "
              "features { scaling: MIN_MAX }"),
      StartsWith("rule: score.kind TRAINING_LOSS of loss BINARY_CROSS_ENTROPY is not 0 where nothing deviates"));
  EXPECT_THAT(Refusal("loss: BINARY_CROSS_ENTROPY"),
              HasSubstr("BINARY_CROSS_ENTROPY needs targets and outputs in [0, 1], but features.scaling is STANDARD"));
  EXPECT_THAT(Refusal("loss: BINARY_CROSS_ENTROPY features { scaling: MIN_MAX } network { output_activation: LINEAR }"),
              HasSubstr("use MIN_MAX and SIGMOID"));
}

TEST(Recipe, EveryNumberHasItsRange) {
  for (const auto& [text, message] : std::vector<std::pair<const char*, const char*>>{
           {"training { batch_size: 0 }", "training.batch_size: expected 1 to 65536, got 0"},
           {"training { batch_size: 65537 }", "training.batch_size: expected 1 to 65536, got 65537"},
           {"training { max_steps: 0 }", "training.max_steps: expected 1 to 100000000, got 0"},
           {"training { max_steps: 100000001 }", "training.max_steps: expected 1 to "},
           {"training { patience: 0 }", "training.patience: expected 1 to 1000000, got 0"},
           {"training { patience: 1000001 }", "training.patience: expected 1 to "},
           {"training { steps_per_validation: 0 }", "training.steps_per_validation: expected 1 to 1000000, got 0"},
           {"training { steps_per_validation: 1000001 }", "training.steps_per_validation: expected 1 to "},
           {"training { validation_fraction: 0 }",
            "training.validation_fraction: expected a number in (0, 0.5], got 0"},
           {"training { validation_fraction: nan }", "training.validation_fraction: "},
           {"training { adam { learning_rate: -1 } }", "training.adam.learning_rate: expected a positive number"},
           {"training { adam { beta1: 1 } }", "training.adam.beta1: expected a number in [0, 1), got 1"},
           {"training { adam { beta2: -0.5 } }", "training.adam.beta2: "},
           {"training { adam { epsilon: 0 } }", "training.adam.epsilon: "},
           {"training { adam { weight_decay: -1 } }", "training.adam.weight_decay: "},
           {"training { sgd {} }", "training.sgd.learning_rate: expected a positive number, got 0"},
           {"training { sgd { learning_rate: 0.1 momentum: 1 } }", "training.sgd.momentum: "},
           {"calibration { holdout_fraction: 0.6 }",
            "calibration.holdout_fraction: expected a number in (0, 0.5], got 0.6"},
           {"calibration { false_positive_rate: 0 }",
            "calibration.false_positive_rate: expected a number in (0, 1), got 0"},
           {"calibration { false_positive_rate: 1 }", "calibration.false_positive_rate: "},
           {"features { window: 0 }", "features.window: expected 1 to 4096, got 0"},
           {"features { window: 4097 }", "features.window: expected 1 to 4096, got 4097"},
           {"features { scaling: 17 }", "features.scaling: unknown value"},
           {"network { activation: 99 }", "network.activation: unknown value"},
           {"network { weight_precision: 3 }", "network.weight_precision: unknown value"},
           {"network { output_activation: 99 }", "network.output_activation: unknown value"},
           {"network { encoder: 0 }", "network.encoder: layer 'code': outputs: expected 1 to 65536, got 0"},
           {"network { encoder: 4000000000 encoder: 4000000000 }", "network.encoder: layer 'encoder_1': outputs: "},
           {"network { encoder: 65536 encoder: 65536 }", "network.encoder: layer 'code': expected at most "},
           {"training { clip_norm: -1 }", "training.clip_norm: expected a number above 0, or 0 for none, got -1"},
           {"training { schedule: 9 }", "training.schedule: unknown value"},
           {"regularizer {}", "regularizer[0]: expected l1_sparsity, kl_sparsity or contractive, got none"},
           {"regularizer { l1_sparsity {} }", "regularizer[0].l1_sparsity.weight: expected a number above 0, got 0"},
           {"network { activation: SIGMOID } regularizer { kl_sparsity { weight: 1 target: 1 } }",
            "regularizer[0].kl_sparsity.target: expected a number in (0, 1), got 1"},
           {"regularizer { kl_sparsity { weight: 1 target: 0.1 } }",
            "regularizer[0].kl_sparsity: needs a code of SIGMOID units, whose mean is a share, got RELU"},
           {"loss: 9", "loss: unknown value"},
           {"rule {}", "rule[0]: expected ignore_below, ignore_below_ratio or direction, got none of them"},
           {"rule { ignore_below: -1 }", "rule[0].ignore_below: expected a finite number from 0, got -1"},
           {"rule { ignore_below_ratio: inf }", "rule[0].ignore_below_ratio: expected a finite number from 0, got inf"},
           {"rule { direction: 3 }", "rule[0].direction: expected BOTH, ABOVE or BELOW, got 3"},
           {"score { kind: 9 }", "score.kind: unknown value"},
           {"corruption { gaussian { sigma: -2 } }", "corruption[0].gaussian.sigma"},
       }) {
    EXPECT_THAT(Refusal(text), StartsWith(message)) << text;
  }
}

TEST(Recipe, AWindowTooWideForTheDataIsRefused) {
  v1::Recipe recipe;
  recipe.set_name("m");
  recipe.mutable_features()->set_window(4096);
  EXPECT_TRUE(CompleteRecipe(recipe, MakeData(500, 16, true)).ok());
  EXPECT_EQ(CompleteRecipe(recipe, MakeData(500, 17, true)).status().message(),
            "features.window: expected at most 65536 values in a vector, got 17 features x 4096 rows");
}

TEST(Recipe, AFileIsReadWithItsPathInEveryRefusal) {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "pump.textproto").string();
  EXPECT_THAT(std::string(ReadRecipe(path).status().message()), HasSubstr(path));
  std::ofstream(path) << "name: 'pump'\nseed: 3\n";
  EXPECT_EQ(ReadRecipe(path)->seed(), 3u);
  std::ofstream(path) << "name: 'pump'\nsed: 3\n";
  EXPECT_THAT(std::string(ReadRecipe(path).status().message()), StartsWith(path + ":2:"));
  std::ofstream(path) << std::string((1 << 20) + 1, ' ');
  EXPECT_THAT(std::string(ReadRecipe(path).status().message()), HasSubstr(path)) << "more than 1 MiB is no recipe";
}

// Tests run in the source folder.
TEST(Recipe, WhatWeDocumentIsComplete) {
  const Dataset data = MakeData(500, 8, true);
  const std::string page = *ReadFile("docs/recipes.md", 1 << 20), fence = "```textproto\n";
  size_t examples = 0;
  for (size_t begin = page.find(fence); begin != std::string::npos; begin = page.find(fence, begin)) {
    begin += fence.size();
    const auto recipe = ParseRecipe(page.substr(begin, page.find("```\n", begin) - begin), "docs/recipes.md");
    ASSERT_TRUE(recipe.ok()) << recipe.status();
    const auto complete = CompleteRecipe(*recipe, data);
    EXPECT_TRUE(complete.ok()) << complete.status();
    ++examples;
  }
  EXPECT_GE(examples, 2u);
}

TEST(Recipe, ANameIsAFoldersName) {
  v1::Recipe recipe;
  recipe.set_name("../up");
  EXPECT_THAT(std::string(CompleteRecipe(recipe, MakeData(50, 3, false)).status().message()), HasSubstr("../up"));
}

TEST(Recipe, TheNetworkMirrorsItsEncoder) {
  const v1::Recipe recipe =
      Complete("network { encoder: 8 encoder: 5 encoder: 2 activation: TANH } features { scaling: MIN_MAX }",
               MakeData(500, 3, false));
  const v1::NetworkSpec spec = BuildNetworkSpec(recipe, 3);
  std::vector<std::string> names;
  std::vector<uint32_t> inputs, outputs;
  std::vector<v1::Activation> activations;
  for (const v1::Layer& layer : spec.layers()) {
    names.push_back(layer.name());
    inputs.push_back(layer.dense().inputs());
    outputs.push_back(layer.dense().outputs());
    activations.push_back(layer.dense().activation());
  }
  EXPECT_THAT(names, ElementsAre("encoder_1", "encoder_2", "code", "decoder_1", "decoder_2", "output"));
  EXPECT_THAT(inputs, ElementsAre(3, 8, 5, 2, 5, 8));
  EXPECT_THAT(outputs, ElementsAre(8, 5, 2, 5, 8, 3));
  EXPECT_THAT(activations, ElementsAre(v1::TANH, v1::TANH, v1::TANH, v1::TANH, v1::TANH, v1::SIGMOID));
  EXPECT_EQ(spec.code_layer(), 2u);
}

}  // namespace
}  // namespace astray
