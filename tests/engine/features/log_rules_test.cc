#include "engine/features/log_rules.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

namespace astray {
namespace {

using ::testing::HasSubstr;

v1::LogRecipe Recipe(const std::string& text) {
  v1::LogRecipe recipe;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &recipe)) << text;
  return recipe;
}

LogRules Rules(const std::string& text) { return *LogRules::Create(Recipe(text)); }

TEST(LogRules, FillsInWhatARecipeLeavesOut) {
  const LogRules rules = Rules("mask { pattern: 'x+' }");
  EXPECT_EQ(rules.recipe().ShortDebugString(),
            Recipe("window_lines: 100 idle_seconds: 300 mask { pattern: 'x+' replacement: '<*>' } depth: 8 "
                   "similarity: 0.8 pairs: true max_pairs: 512")
                .ShortDebugString());
  EXPECT_EQ(LogRules::Create(rules.recipe())->recipe().ShortDebugString(), rules.recipe().ShortDebugString());
}

TEST(LogRules, TheKeyIsTheFirstGroupOrTheWholeMatch) {
  EXPECT_EQ(Rules("session_pattern: 'blk_-?[0-9]+'").SessionKey("INFO Block blk_-17 gone"), "blk_-17");
  EXPECT_EQ(Rules("session_pattern: 'user=(\\\\w+) on (\\\\w+)'").SessionKey("x user=eve on db"), "eve");
  EXPECT_EQ(Rules("session_pattern: 'blk_-?[0-9]+'").SessionKey("nothing"), std::nullopt);
  EXPECT_EQ(Rules("session_pattern: 'a(b*)'").SessionKey("xa"), std::nullopt) << "an empty key is none";
  EXPECT_EQ(Rules("").SessionKey("blk_1"), std::nullopt);
}

TEST(LogRules, TimesAreFoundByPatternAndFormat) {
  const LogRules rules = Rules("time_pattern: '^([0-9]{6} [0-9]{6})' time_format: '%y%m%d %H%M%S'");
  EXPECT_EQ(rules.Time("081109 203615 148 INFO x"), 1226262975);
  EXPECT_EQ(rules.Time("2008-11-09 20:36:15 x"), std::nullopt);
  EXPECT_EQ(rules.Time("081399 203615 148 INFO x"), std::nullopt);
  EXPECT_EQ(Rules("").Time("2008-11-09 20:36:15 x"), 1226262975);
  EXPECT_EQ(Rules("time_pattern: '(.*)' time_format: '%Y-%m-%d'").Time("infinite-future"), std::nullopt);
}

TEST(LogRules, MasksAreReplacedInOrderAndTheRestOfALongLineLeftOut) {
  const LogRules rules = Rules("mask { pattern: 'user \\\\w+' replacement: 'user X' } mask { pattern: 'X|eve' }");
  std::string buffer;
  EXPECT_EQ(rules.Masked("user bob met eve and user eve", &buffer), "user <*> met <*> and user <*>");
  EXPECT_EQ(Rules("mask { pattern: '(a)(b)' replacement: '\\\\2\\\\1' }").Masked("ab", &buffer), "ba");
  EXPECT_EQ(Rules("").Masked(std::string(1'000'000, 'a'), &buffer).size(), LogRules::kMaxLineBytes);
  EXPECT_EQ(Rules("mask { pattern: 'a' replacement: 'aaaaaaaaaa' } mask { pattern: 'a' replacement: 'aaaaaaaaaa' }")
                .Masked(std::string(5000, 'a'), &buffer)
                .size(),
            LogRules::kMaxLineBytes);
}

TEST(LogRules, RefusesWhatCannotBeAndNamesTheField) {
  const auto refusal = [](const std::string& text) {
    const auto rules = LogRules::Create(Recipe(text));
    EXPECT_TRUE(absl::IsInvalidArgument(rules.status())) << text;
    return std::string(rules.status().message());
  };
  EXPECT_EQ(refusal("session_pattern: '('"),
            "features.log.session_pattern: expected a regular expression, missing ): (, got '('");
  EXPECT_THAT(refusal("session_pattern: ''"), HasSubstr("session_pattern: expected a regular expression of 1 to 1000"));
  EXPECT_THAT(refusal("session_pattern: '((a{1000}){1000}){1000}'"), HasSubstr("session_pattern: "));
  EXPECT_THAT(refusal("session_pattern: '(((\\\\pL{30}){30}))'"), HasSubstr("pattern too large"));
  EXPECT_THAT(refusal("mask { pattern: 'a' } mask { pattern: '[' }"), HasSubstr("features.log.mask[1].pattern: "));
  EXPECT_THAT(refusal("mask { pattern: 'a' replacement: '\\\\1' }"), HasSubstr("features.log.mask[0].replacement: "));
  EXPECT_THAT(refusal("time_pattern: '(a)'"), HasSubstr("time_format: expected both"));
  EXPECT_THAT(refusal("time_format: '%s'"), HasSubstr("time_pattern: expected both"));
  EXPECT_THAT(refusal("time_pattern: 'a' time_format: '%s'"), HasSubstr("time_pattern: expected one group"));
  EXPECT_THAT(refusal("window_seconds: 0"), HasSubstr("window_seconds: expected a number above 0 to 1e+09, got 0"));
  EXPECT_THAT(refusal("window_seconds: nan"), HasSubstr("window_seconds"));
  EXPECT_THAT(refusal("window_lines: 0"), HasSubstr("window_lines"));
  EXPECT_THAT(refusal("window_lines: 100001"), HasSubstr("window_lines"));
  EXPECT_THAT(refusal("idle_seconds: -1"), HasSubstr("idle_seconds: expected a number of 0 to"));
  EXPECT_THAT(refusal("similarity: 1.5"), HasSubstr("similarity"));
  EXPECT_THAT(refusal("depth: 65"), HasSubstr("depth"));
  EXPECT_THAT(refusal("max_pairs: 60001"), HasSubstr("max_pairs"));
  std::string masks;
  for (int i = 0; i < 65; ++i) masks += "mask { pattern: 'a' } ";
  EXPECT_THAT(refusal(masks), HasSubstr("mask: expected at most 64, got 65"));
}

}  // namespace
}  // namespace astray
