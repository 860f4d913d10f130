#include "engine/train/tuning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/random.h"
#include "engine/train/recipe.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

// Six sensors that follow two hidden values.
Dataset MakeData(size_t rows, uint64_t seed = 1) {
  Dataset data;
  for (int j = 0; j < 6; ++j) data.feature_names.push_back("s" + std::to_string(j));
  Random random(seed);
  for (size_t i = 0; i < rows; ++i) {
    const double t = 6 * random.Uniform(), u = 6 * random.Uniform();
    for (int j = 0; j < 6; ++j) {
      data.values.push_back(static_cast<float>(std::sin(t + j) + std::cos(u * (j % 2 + 1)) + 0.05 * random.Normal()));
    }
  }
  return data;
}

v1::Recipe MakeRecipe(const std::string& text = "", int steps = 300, int window = 1) {
  const auto recipe =
      ParseRecipe("name: 'm' features { window: " + std::to_string(window) +
                      " } training { max_steps: " + std::to_string(steps) + " } network { encoder: [ 32, 4 ] } " + text,
                  "r");
  EXPECT_TRUE(recipe.ok()) << recipe.status();
  return *recipe;
}

TEST(Tune, FindsThatCorruptionBeatsNoneAndDrowning) {
  const TuningOptions options = {.levels = {0.3, 30}, .widths = {1, 4}, .threads = 2};
  size_t last = 0;
  v1::Recipe recipe = MakeRecipe();
  recipe.mutable_score()->set_kind(
      v1::FEATURE_NORMALISED);                // MAHALANOBIS finds anomalies in what a drowned network leaves
  recipe.mutable_score()->set_prototypes(0);  // and so do they
  const auto report = Tune(recipe, MakeData(2000), options, [&](size_t done, size_t all) {
    EXPECT_EQ(all, 4u);
    last = std::max(last, done);
  });
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(last, 4u);
  ASSERT_EQ(report->points_size(), 4);
  EXPECT_EQ(report->points(1).level(), 0.3);
  EXPECT_EQ(report->points(1).code_units(), 4u);
  EXPECT_EQ(report->best(), 1u) << report->DebugString();
  EXPECT_GT(report->points(1).auroc(), report->points(3).auroc() + 0.05) << "noise of thirty deviations";
  EXPECT_GT(report->points(1).auroc(), report->points(0).auroc()) << "one unit for two hidden values";
  EXPECT_EQ(report->judged_rows(), 400u);
  EXPECT_FALSE(report->labelled());
}

TEST(Tune, TheSameWhateverTheThreads) {
  TuningOptions options = {.levels = {0.2, 1}, .widths = {2, 3}, .threads = 1};
  const auto one = Tune(MakeRecipe(), MakeData(600), options, {});
  options.threads = 3;
  const auto three = Tune(MakeRecipe(), MakeData(600), options, {});
  ASSERT_TRUE(one.ok() && three.ok());
  EXPECT_EQ(one->SerializeAsString(), three->SerializeAsString());
}

TEST(Tune, JudgesOnLabelledRowsWhereThereAre) {
  Dataset labelled = MakeData(500, 2);
  labelled.labels = InjectAnomalies(1, 1, 1, &labelled);
  for (uint8_t& label : labelled.labels) label = label == 1;
  const auto report = Tune(MakeRecipe(), MakeData(1000), {.levels = {0.3}, .widths = {4}, .labelled = &labelled}, {});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->labelled());
  EXPECT_EQ(report->judged_rows(), 500u);
  EXPECT_GT(report->points(0).auroc(), 0.7);
  labelled.labels.assign(500, 0);
  EXPECT_EQ(Tune(MakeRecipe(), MakeData(1000), {.levels = {0.3}, .widths = {4}, .labelled = &labelled}, {})
                .status()
                .message(),
            "level 0.3, width 4: data: expected normal and anomalous rows to judge on, got one kind only");
}

TEST(Tune, ChoosesLevelsAndWidthsForTheRecipe) {
  const auto gaussian = Tune(MakeRecipe("", 2), MakeData(400), {.threads = 4}, {});
  ASSERT_TRUE(gaussian.ok()) << gaussian.status();
  EXPECT_EQ(gaussian->points_size(), 5 * 4);
  EXPECT_EQ(gaussian->points(0).level(), 0.1);
  EXPECT_EQ(gaussian->points(0).code_units(), 1u);
  EXPECT_EQ(gaussian->points(19).code_units(), 12u);
  const auto masking = Tune(MakeRecipe("corruption { masking { keep_probability: 0.9 } }"), MakeData(400),
                            {.widths = {2}, .threads = 4}, {});
  ASSERT_TRUE(masking.ok()) << masking.status();
  EXPECT_EQ(masking->points(4).level(), 0.6);
}

TEST(Tune, RefusalsNameTheCandidate) {
  EXPECT_EQ(Tune(MakeRecipe(), MakeData(400), {.levels = {-1}, .widths = {2}}, {}).status().message(),
            "level -1, width 2: corruption[0].gaussian.max_sigma: expected a number above 0, got -1");
  EXPECT_THAT(std::string(Tune(MakeRecipe(), MakeData(400), {.levels = {1}, .widths = {0}}, {}).status().message()),
              HasSubstr("level 1, width 0: network.encoder: layer 'code': outputs: expected 1 to 65536, got 0"));
  EXPECT_THAT(
      std::string(
          Tune(*ParseRecipe("name: 'm' features { window: 1 } network { layers { dense { outputs: 2 } } layers { "
                            "dense {} } }",
                            "r"),
               MakeData(400), {}, {})
              .status()
              .message()),
      HasSubstr("network: expected an encoder, whose last layer is the code, got a list of layers"));
  EXPECT_THAT(std::string(Tune(MakeRecipe("corruption { local_shuffle { rows: 2 } }", 2, 4), MakeData(400),
                               {.levels = {1}, .widths = {2}}, {})
                              .status()
                              .message()),
              HasSubstr("corruption: expected one with a level"));
  EXPECT_EQ(Tune(MakeRecipe(), MakeData(400),
                 {.levels = std::vector<double>(40, 1), .widths = std::vector<uint32_t>(40, 1)}, {})
                .status()
                .message(),
            "expected at most 1000 levels x widths, got 1600");
}

TEST(InjectAnomalies, ChangesOnlyTheRowsItLabels) {
  const Dataset before = MakeData(1000);
  Dataset after = before;
  const std::vector<uint8_t> labels = InjectAnomalies(5, 3, 1, &after);
  size_t anomalous = 0, changed = 0, between = 0;
  for (size_t i = 0; i < 1000; ++i) {
    const bool same = std::ranges::equal(before.row(i), after.row(i));
    if (labels[i] == 1) {
      ++anomalous;
      changed += !same;
    } else {
      EXPECT_TRUE(same) << "row " << i;
    }
    if (labels[i] == 2) {
      ++between;
      EXPECT_TRUE(labels[i - 1] == 1 || (labels[i - 1] == 2 && labels[i - 2] == 1))
          << "windows of three rows reach back";
    }
  }
  EXPECT_EQ(anomalous % 5, 0u);
  EXPECT_NEAR(static_cast<double>(anomalous), 1000 * 5.0 / 13, 10);
  EXPECT_EQ(changed, anomalous);
  EXPECT_NEAR(static_cast<double>(between), static_cast<double>(anomalous) * 2 / 5, 3);
}

}  // namespace
}  // namespace astray
