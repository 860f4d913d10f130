#include "engine/data/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace astray {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Names(const EntityColumn& entities) {
  std::vector<std::string> names;
  for (size_t i = 0; i < entities.size(); ++i) names.push_back(entities[i]);
  return names;
}

TEST(Dataset, DropsAnomaliesWithEverythingOfTheirRows) {
  Dataset data{.feature_names = {"a", "b"},
               .values = {1, 2, 3, 4, 5, 6},
               .timestamps = {"x", "y", "z"},
               .labels = {1, 0, 0},
               .culprits = {"a", "", ""}};
  EXPECT_EQ(data.DropAnomalies(), 1u);
  EXPECT_THAT(data.values, ElementsAre(3, 4, 5, 6));
  EXPECT_THAT(data.timestamps, ElementsAre("y", "z"));
  EXPECT_THAT(data.culprits, ElementsAre("", ""));
  EXPECT_THAT(data.labels, IsEmpty());
  EXPECT_EQ(data.rows(), 2u);
}

TEST(Dataset, WhatIsKeptBeforeTheFirstAnomalyStaysAsItWas) {
  Dataset data{.feature_names = {"a"},
               .values = {1, 2, 3},
               .timestamps = {"x", "y", "z"},
               .entities = {"p", "q", "q"},
               .labels = {0, 1, 0}};
  EXPECT_EQ(data.DropAnomalies(), 1u);
  EXPECT_THAT(data.timestamps, ElementsAre("x", "z"));
  EXPECT_THAT(Names(data.entities), ElementsAre("p", "q"));
}

TEST(Dataset, WithoutLabelsNothingIsDropped) {
  Dataset data{.feature_names = {"a"}, .values = {1, 2}};
  EXPECT_EQ(data.DropAnomalies(), 0u);
  EXPECT_THAT(data.values, ElementsAre(1, 2));
}

TEST(Dataset, GroupsEachEntitysRowsInTheirOrder) {
  Dataset data{.feature_names = {"a"},
               .values = {1, 2, 3, 4, 5},
               .timestamps = {"1", "2", "3", "4", "5"},
               .entities = {"z", "b", "z", "", "b"},
               .segments = {"day", "", "night", "day", "night"},
               .labels = {1, 0, 0, 1, 0},
               .culprits = {"p", "q", "r", "s", "t"}};
  ASSERT_TRUE(data.GroupByEntity().ok());
  EXPECT_THAT(data.values, ElementsAre(1, 3, 2, 5, 4));
  EXPECT_THAT(data.timestamps, ElementsAre("1", "3", "2", "5", "4"));
  EXPECT_THAT(Names(data.entities), ElementsAre("z", "z", "b", "b", ""));
  EXPECT_THAT(Names(data.segments), ElementsAre("day", "night", "", "night", "day"));
  EXPECT_THAT(data.labels, ElementsAre(1, 0, 0, 0, 1));
  EXPECT_THAT(data.culprits, ElementsAre("p", "r", "q", "t", "s"));
  EXPECT_EQ(data.DropAnomalies(), 2u);
  EXPECT_THAT(Names(data.segments), ElementsAre("night", "", "night"));
}

}  // namespace
}  // namespace astray
