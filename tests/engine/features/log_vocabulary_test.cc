#include "engine/features/log_vocabulary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/features/log_rules.h"
#include "engine/features/log_transform.h"

namespace astray {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t Pair(uint64_t first, uint64_t second) { return (first << 32) | second; }

v1::LogState Learn(const std::vector<std::vector<uint32_t>>& sessions, const std::string& pattern = "s") {
  v1::LogRecipe recipe;
  if (!pattern.empty()) recipe.set_session_pattern(pattern);
  TemplateMiner miner;
  for (const char* line : {"alpha", "beta", "gamma one", "gamma two"}) miner.Learn(line);
  return LearnLogVocabulary(LogRules::Create(recipe)->recipe(), miner, {"A", "B", "C", "D"}, sessions);
}

TEST(LogVocabulary, CountsSessionsNotLines) {
  const v1::LogState state = Learn({{0, 0, 0, 1}, {0, 1}, {2, 2}});
  ASSERT_EQ(state.templates_size(), 4);
  EXPECT_EQ(state.templates(0).text(), "alpha");
  EXPECT_EQ(state.templates(0).example(), "A");
  EXPECT_EQ(state.templates(0).sessions(), 2u);
  EXPECT_EQ(state.templates(2).sessions(), 1u);
  EXPECT_EQ(state.templates(3).sessions(), 0u);
  // Ids + 1, 0 the border.
  EXPECT_THAT(state.pairs(), ElementsAre(Pair(0, 1), Pair(1, 2), Pair(2, 0)));
  EXPECT_THAT(state.rare_pairs(), IsEmpty());
  EXPECT_THAT(state.single_pairs(), ElementsAre(Pair(0, 3), Pair(1, 1), Pair(3, 0), Pair(3, 3)));
}

TEST(LogVocabulary, PairsOfUnknownEventsAndOfBordersOfWindowsAreNone) {
  EXPECT_THAT(Learn({{0, kUnknownEvent, 1}, {0, kUnknownEvent, 1}}).pairs(), ElementsAre(Pair(0, 1), Pair(2, 0)));
  EXPECT_THAT(Learn({{0, 1}, {0, 1}}, "").pairs(), ElementsAre(Pair(1, 2)));
}

TEST(LogVocabulary, APairOfFewSessionsHasNoColumn) {
  std::vector<std::vector<uint32_t>> sessions(300, {0});
  sessions[17] = sessions[170] = {0, 1};
  const v1::LogState state = Learn(sessions);
  EXPECT_THAT(state.pairs(), ElementsAre(Pair(0, 1), Pair(1, 0)));
  EXPECT_THAT(state.rare_pairs(), ElementsAre(Pair(1, 2), Pair(2, 0))) << "2 of 300 are under one in a hundred";
  EXPECT_EQ(state.templates(1).sessions(), 2u);
}

}  // namespace
}  // namespace astray
