#include "engine/detect/stream_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "google/protobuf/text_format.h"

namespace astray {
namespace {

absl::StatusOr<StreamPolicy> Read(const std::string& text) {
  v1::Recipe recipe;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &recipe)) << text;
  return StreamPolicy::FromRecipe(recipe);
}

TEST(StreamPolicy, DefaultsAreARowARaise) {
  const auto policy = Read("");
  ASSERT_TRUE(policy.ok());
  EXPECT_EQ(policy->tolerance_seconds, 0);
  EXPECT_EQ(policy->raise_rows, 1u);
  EXPECT_EQ(policy->alarm_memory_rows(), 0u);
  v1::Recipe filled;
  policy->Fill(&filled);
  EXPECT_TRUE(filled.stream().has_max_gap_seconds());
  EXPECT_EQ(filled.alarm().of_rows(), 1u);
}

TEST(StreamPolicy, OfRowsFollowsRaiseRows) {
  const auto policy = Read("alarm { raise_rows: 3 smoothing_rows: 4 clear_rows: 9 }");
  ASSERT_TRUE(policy.ok());
  EXPECT_EQ(policy->of_rows, 3u);
  EXPECT_EQ(policy->alarm_memory_rows(), 3u + 8u);
}

TEST(StreamPolicy, RefusesWhatCannotBe) {
  for (const auto& [text, message] : std::vector<std::pair<std::string, std::string>>{
           {"alarm { raise_rows: 3 of_rows: 2 }", "alarm.of_rows: expected 3 to 10000, got 2"},
           {"alarm { raise_rows: 0 }", "alarm.raise_rows: expected 1 to 10000, got 0"},
           {"alarm { smoothing_rows: 4000000000 }", "alarm.smoothing_rows: expected 1 to 10000, got 4000000000"},
           {"alarm { clear_rows: 0 }", "alarm.clear_rows: expected 1 to 10000, got 0"},
           {"alarm { clear_below: nan }", "alarm.clear_below: expected a number above 0, at most 1, got nan"},
           {"alarm { clear_below: 1.5 }", "alarm.clear_below: expected a number above 0, at most 1, got 1.5"},
           {"stream { tolerance_seconds: -1 }", "stream.tolerance_seconds: expected 0 to 1e+09 seconds, got -1"},
           {"stream { max_gap_seconds: inf }", "stream.max_gap_seconds: expected 0 to 1e+09 seconds, got inf"}}) {
    const auto policy = Read(text);
    EXPECT_EQ(policy.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_EQ(policy.status().message(), message);
  }
}

}  // namespace
}  // namespace astray
