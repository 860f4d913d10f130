#include "engine/features/feature_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace astray {
namespace {

using ::testing::HasSubstr;

TEST(FeatureNames, AcceptsUtf8) {
  EXPECT_TRUE(CheckFeatureNames({"flow", "Druck °C", "温度", "a b", "\U0001F321"}).ok());
}

TEST(FeatureNames, RefusesWhatCannotBeAName) {
  const auto message = [](const std::vector<std::string>& names) {
    const absl::Status status = CheckFeatureNames(names);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(message({}), HasSubstr("at least one"));
  EXPECT_EQ(message({"a", ""}), "feature 2: name: expected text, got nothing");
  EXPECT_EQ(message({"a", "b", "a"}), "feature 3: name: expected unique names, got 'a' twice");
  EXPECT_EQ(message({"a\nb"}), "feature 1: name: expected no control characters");
  EXPECT_EQ(message({std::string(257, 'x')}), "feature 1: name: expected at most 256 bytes, got 257");
  EXPECT_THAT(message(std::vector<std::string>(kMaxFeatures + 1, "x")), HasSubstr("expected at most 65536, got 65537"));
}

TEST(FeatureNames, RefusesMalformedUtf8) {
  // A lone continuation, an overlong slash, a surrogate, past U+10FFFF, a truncated sequence.
  for (const char* bad : {"\x80", "\xC0\xAF", "\xE0\x80\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "a\xE6\xB8"}) {
    EXPECT_EQ(CheckFeatureNames({bad}).message(), "feature 1: name: expected UTF-8");
  }
}

}  // namespace
}  // namespace astray
