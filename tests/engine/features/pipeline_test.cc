#include "engine/features/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <utility>

#include "engine/base/random.h"

namespace astray {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

v1::FeaturesRecipe FeaturesRecipe(v1::Scaling scaling, uint32_t window) {
  v1::FeaturesRecipe recipe;
  recipe.set_scaling(scaling);
  recipe.set_window(window);
  return recipe;
}

// Two features; MIN_MAX maps 0..10 and 0..100 to 0..1.
Pipeline TwoFeatures(uint32_t window) {
  auto pipeline =
      Pipeline::Fit(FeaturesRecipe(v1::MIN_MAX, window), {"flow", "pressure"}, std::vector<float>{0, 100, 10, 0});
  EXPECT_TRUE(pipeline.ok()) << pipeline.status();
  return *std::move(pipeline);
}

TEST(Pipeline, ScalesRowByRowWithoutAWindow) {
  const Pipeline pipeline = TwoFeatures(1);
  Batch batch;
  ASSERT_TRUE(pipeline.Apply(std::vector<float>{5, 10, kNaN, 50}, &batch).ok());
  EXPECT_EQ(batch.vectors, 2u);
  EXPECT_EQ(batch.width, 2u);
  EXPECT_THAT(batch.values, ElementsAre(0.5f, 0.1f, 0.5f, 0.5f));
  EXPECT_THAT(batch.observed, ElementsAre(1, 1, 0, 1));
}

TEST(Pipeline, SlidesTheWindowOldestRowFirst) {
  const Pipeline pipeline = TwoFeatures(2);
  EXPECT_EQ(pipeline.width(), 4u);
  Batch batch;
  ASSERT_TRUE(pipeline.Apply(std::vector<float>{1, 10, 2, 20, 3, kNaN}, &batch).ok());
  EXPECT_EQ(batch.vectors, 2u);
  EXPECT_THAT(batch.vector(0), ElementsAre(0.1f, 0.1f, 0.2f, 0.2f));
  EXPECT_THAT(batch.vector(1), ElementsAre(0.2f, 0.2f, 0.3f, 0.2f)) << "the reading before";
  EXPECT_THAT(batch.observed, ElementsAre(1, 1, 1, 1, 1, 1, 1, 0));
}

TEST(Pipeline, AMissingValueIsTheReadingBeforeItInItsWindowOrTheOneAfterIt) {
  const Pipeline pipeline = TwoFeatures(3);
  Batch batch;
  const std::vector<float> rows = {1, 10, kNaN, kNaN, kNaN, 30, 4, kNaN};
  ASSERT_TRUE(pipeline.Apply(rows, &batch).ok());
  EXPECT_THAT(batch.vector(0), ElementsAre(0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.3f));
  EXPECT_THAT(batch.vector(1), ElementsAre(0.4f, 0.3f, 0.4f, 0.3f, 0.4f, 0.3f)) << "nothing from before the window";
  ASSERT_TRUE(pipeline.Apply(std::vector<float>{kNaN, 10, kNaN, 20, kNaN, 30}, &batch).ok());
  EXPECT_THAT(batch.vector(0), ElementsAre(0.5f, 0.1f, 0.5f, 0.2f, 0.5f, 0.3f)) << "no reading: the fill";

  // An artifact from before keeps what its threshold was made with.
  v1::PipelineState state = pipeline.ToState();
  state.mutable_transforms(1)->mutable_window()->clear_carry_readings();
  const auto old = Pipeline::FromState(state);
  ASSERT_TRUE(old.ok());
  ASSERT_TRUE(old->Apply(rows, &batch).ok());
  EXPECT_THAT(batch.vector(0), ElementsAre(0.1f, 0.1f, 0.5f, 0.5f, 0.5f, 0.3f));
}

TEST(Pipeline, FewerRowsThanTheWindowGiveNoVector) {
  const Pipeline pipeline = TwoFeatures(3);
  Batch batch;
  ASSERT_TRUE(pipeline.Apply(std::vector<float>{1, 2, 3, 4, 5, 6}, &batch).ok());
  EXPECT_EQ(batch.vectors, 1u);
  ASSERT_TRUE(pipeline.Apply(std::vector<float>{1, 2, 3, 4}, &batch).ok());
  EXPECT_EQ(batch.vectors, 0u);
  ASSERT_TRUE(pipeline.Apply({}, &batch).ok());
  EXPECT_EQ(batch.vectors, 0u);
}

TEST(Pipeline, ReusesWhatTheBatchHasAllocated) {
  const Pipeline pipeline = TwoFeatures(2);
  Batch batch;
  std::vector<float> rows(200, 1.0f);
  ASSERT_TRUE(pipeline.Apply(rows, &batch).ok());
  const float* const values = batch.values.data();
  const float* const observed = batch.observed.data();
  const float* const scratch = batch.row_values.data();
  rows.resize(50);
  ASSERT_TRUE(pipeline.Apply(rows, &batch).ok());
  rows.resize(200);
  ASSERT_TRUE(pipeline.Apply(rows, &batch).ok());
  EXPECT_EQ(batch.values.data(), values);
  EXPECT_EQ(batch.observed.data(), observed);
  EXPECT_EQ(batch.row_values.data(), scratch);
}

// What is known to be observed is not written again: no call may leave its missing values to the next.
TEST(Pipeline, ABatchThatIsUsedAgainSaysWhatIsMissingNow) {
  for (const uint32_t window : {1u, 3u}) {
    const Pipeline pipeline = TwoFeatures(window);
    Random random(window);
    Batch again;
    for (int call = 0; call < 200; ++call) {
      std::vector<float> rows(2 * random.UniformInt(40));
      for (float& value : rows) value = call % 3 == 0 && random.Uniform() < 0.1 ? kNaN : 1.0f;
      Batch fresh;
      ASSERT_TRUE(pipeline.Apply(rows, &fresh).ok());
      ASSERT_TRUE(pipeline.Apply(rows, &again).ok());
      ASSERT_EQ(again.observed, fresh.observed) << call;
      ASSERT_EQ(again.missing, fresh.missing) << call;
      for (size_t i = 0; i < fresh.vectors; ++i) {
        const auto observed = std::span(fresh.observed).subspan(i * fresh.width, fresh.width);
        ASSERT_EQ(fresh.missing[i], std::ranges::count(observed, 0.0f));
        for (size_t j = 0; j < fresh.width; ++j) ASSERT_EQ(observed[j] == 0, std::isnan(rows[i * 2 + j]));
      }
    }
  }
}

TEST(Pipeline, WindowsOneBehindTheOtherAreTheirRows) {
  const Pipeline pipeline = TwoFeatures(3);
  Random random(4);
  Batch windows, alone;
  for (int call = 0; call < 100; ++call) {
    std::vector<float> rows(2 * 3 * (1 + random.UniformInt(5)) + 2 * random.UniformInt(3));
    for (float& value : rows) value = call % 2 == 0 && random.Uniform() < 0.2 ? kNaN : static_cast<float>(call);
    ASSERT_TRUE(pipeline.Apply(rows, &windows, 3).ok());
    ASSERT_EQ(windows.vectors, rows.size() / 6);
    for (size_t i = 0; i < windows.vectors; ++i) {
      ASSERT_TRUE(pipeline.Apply(std::span(rows).subspan(i * 6, 6), &alone).ok());
      for (size_t j = 0; j < 6; ++j) {
        ASSERT_EQ(windows.values[i * 6 + j], alone.values[j]) << call;
        ASSERT_EQ(windows.observed[i * 6 + j], alone.observed[j]) << call;
      }
      ASSERT_EQ(windows.missing[i], alone.missing[0]);
    }
  }
}

TEST(Pipeline, VectorsAreTheSameHoweverRowsAreCut) {
  Random random(3);
  std::vector<float> rows(2 * 100);
  random.FillUniform(rows);
  const Pipeline pipeline = TwoFeatures(7);
  Batch whole;
  ASSERT_TRUE(pipeline.Apply(rows, &whole).ok());
  Batch part;
  for (size_t first = 0; first + 9 <= 100; ++first) {
    ASSERT_TRUE(pipeline.Apply(std::span(rows).subspan(first * 2, 9 * 2), &part).ok());
    ASSERT_EQ(part.vectors, 3u);
    for (size_t i = 0; i < 3; ++i) {
      ASSERT_TRUE(std::equal(part.vector(i).begin(), part.vector(i).end(), whole.vector(first + i).begin()));
    }
  }
}

TEST(Pipeline, InvertsTheNewestRow) {
  const Pipeline pipeline = TwoFeatures(2);
  std::vector<float> row(2);
  pipeline.InvertNewestRow(std::vector<float>{9, 9, 0.25f, 0.5f}, row);
  EXPECT_THAT(row, ElementsAre(2.5f, 50));
}

TEST(Pipeline, NamesRowAndFeatureOfWhatItRefuses) {
  const Pipeline pipeline = TwoFeatures(2);
  Batch batch;
  EXPECT_EQ(pipeline.Apply(std::vector<float>(5), &batch),
            absl::InvalidArgumentError("rows: expected a multiple of 2 values (the model's features), got 5"));
  EXPECT_EQ(
      pipeline.Apply(std::vector<float>{1, 2, 3, -HUGE_VALF, HUGE_VALF, 1}, &batch),
      absl::InvalidArgumentError("row 1, feature 'pressure': expected a finite number, or NaN for missing, got -inf"));
}

TEST(Pipeline, FitRefusesRecipesAndRowsThatCannotBe) {
  const std::vector<float> rows = {1, 2, 3, 4};
  const auto message = [&](uint32_t window, std::vector<std::string> names, const std::vector<float>& data) {
    const auto status = Pipeline::Fit(FeaturesRecipe(v1::STANDARD, window), std::move(names), data).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_EQ(message(0, {"a", "b"}, rows), "window: expected 1 to 4096 rows, got 0");
  EXPECT_EQ(message(4097, {"a", "b"}, rows), "window: expected 1 to 4096 rows, got 4097");
  std::vector<std::string> names(100);
  for (size_t i = 0; i < names.size(); ++i) names[i] = std::to_string(i);
  EXPECT_EQ(message(4096, names, std::vector<float>(100)),
            "window: expected features x window of at most 65536, got 100 x 4096");
  EXPECT_THAT(message(1, {"a", "a"}, rows), HasSubstr("unique"));
  EXPECT_THAT(message(1, {"a", "b"}, {}), HasSubstr("at least one row"));
  EXPECT_EQ(message(1, {"a", "b"}, {1, kNaN, 2, kNaN}), "column 'b': expected values, all 2 are missing");
}

TEST(Pipeline, StateRoundTrips) {
  const Pipeline pipeline = TwoFeatures(5);
  const auto again = Pipeline::FromState(pipeline.ToState());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->ToState().SerializeAsString(), pipeline.ToState().SerializeAsString());
  EXPECT_EQ(again->window(), 5u);
  EXPECT_THAT(again->feature_names(), ElementsAre("flow", "pressure"));
}

TEST(Pipeline, RefusesABadState) {
  const v1::PipelineState good = TwoFeatures(2).ToState();
  const std::vector<std::pair<std::function<void(v1::PipelineState&)>, std::string>> cases = {
      {[](v1::PipelineState& s) { s.clear_feature_names(); }, "at least one"},
      {[](v1::PipelineState& s) { s.set_feature_names(1, "flow"); }, "unique"},
      {[](v1::PipelineState& s) { s.add_feature_names("third"); }, "scaler: expected 3 columns"},
      {[](v1::PipelineState& s) { s.clear_transforms(); }, "expected a scaler and then a window"},
      {[](v1::PipelineState& s) { s.add_transforms(); }, "expected a scaler and then a window"},
      {[](v1::PipelineState& s) { s.mutable_transforms()->SwapElements(0, 1); }, "expected a scaler and then a window"},
      {[](v1::PipelineState& s) { s.mutable_transforms(0)->mutable_scaler()->set_scale(0, 0); }, "scale 0"},
      {[](v1::PipelineState& s) { s.mutable_transforms(1)->mutable_window()->set_rows(0); }, "window: expected 1"},
      {[](v1::PipelineState& s) { s.mutable_transforms(1)->mutable_window()->set_rows(4000000000u); },
       "window: expected 1 to 4096 rows, got 4000000000"},
  };
  for (const auto& [damage, message] : cases) {
    v1::PipelineState state = good;
    damage(state);
    const auto pipeline = Pipeline::FromState(state);
    EXPECT_EQ(pipeline.status().code(), absl::StatusCode::kInvalidArgument) << message;
    EXPECT_THAT(std::string(pipeline.status().message()), HasSubstr(message));
  }
}

// Sessions of two templates, as counts without pairs.
Pipeline OfALog() {
  v1::LogState state;
  state.mutable_recipe()->set_pairs(false);
  for (const char* text : {"alpha", "beta <*>"}) {
    state.add_templates()->set_text(text);
    state.mutable_templates(state.templates_size() - 1)->set_sessions(2);
  }
  auto log = std::make_shared<const LogTransform>(*LogTransform::FromState(state));
  return *Pipeline::Fit(FeaturesRecipe(v1::LOG1P, 1), log->FeatureNames(), std::vector<float>{1, 2, 0, 1, 3, 0}, log);
}

TEST(Pipeline, KeepsWhatTrainingLearnedOfALog) {
  EXPECT_EQ(TwoFeatures(2).log(), nullptr);
  const Pipeline pipeline = OfALog();
  const auto again = Pipeline::FromState(pipeline.ToState());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->ToState().SerializeAsString(), pipeline.ToState().SerializeAsString());
  ASSERT_NE(again->log(), nullptr);
  EXPECT_EQ(again->log()->Event("beta 17"), 1u);
  EXPECT_THAT(again->feature_names(), ElementsAre("t0", "t1", "unseen"));
}

TEST(Pipeline, RefusesALogThatIsNotItsRows) {
  const v1::PipelineState good = OfALog().ToState();
  const auto message = [&](const std::function<void(v1::PipelineState&)>& damage) {
    v1::PipelineState state = good;
    damage(state);
    const auto pipeline = Pipeline::FromState(state);
    EXPECT_EQ(pipeline.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(pipeline.status().message());
  };
  EXPECT_THAT(message([](v1::PipelineState& s) { s.set_feature_names(0, "t7"); }), HasSubstr("log: expected its 3"));
  EXPECT_THAT(message([](v1::PipelineState& s) { s.mutable_transforms(2)->mutable_window()->set_rows(2); }),
              HasSubstr("window: expected 1 for sessions of a log, got 2"));
  EXPECT_THAT(message([](v1::PipelineState& s) { s.mutable_transforms(0)->mutable_log()->clear_templates(); }),
              HasSubstr("log: templates: expected 1 to 100000, got 0"));
  EXPECT_THAT(message([](v1::PipelineState& s) { s.mutable_transforms()->SwapElements(0, 1); }),
              HasSubstr("or a log before both"));
  EXPECT_THAT(message([](v1::PipelineState& s) { s.mutable_transforms()->RemoveLast(); }),
              HasSubstr("or a log before both"));
}

}  // namespace
}  // namespace astray
