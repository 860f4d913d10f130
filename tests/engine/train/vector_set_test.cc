#include "engine/train/vector_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <set>

namespace astray {
namespace {

using ::testing::ElementsAre;

TEST(VectorSet, WindowsNeverSpanTwoSegments) {
  std::vector<float> scaled(20), observed(20, 1.0f);
  std::iota(scaled.begin(), scaled.end(), 0.0f);
  const VectorSet set(scaled, observed, 2, 3, {{0, 4}, {5, 3}, {8, 2}});
  ASSERT_EQ(set.size(), 3u);
  EXPECT_EQ(set.width(), 6u);
  EXPECT_THAT(set.values(0), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(set.values(1), ElementsAre(2, 3, 4, 5, 6, 7));
  EXPECT_THAT(set.values(2), ElementsAre(10, 11, 12, 13, 14, 15));
  EXPECT_EQ(set.GatherValues().size(), 18u);
  EXPECT_EQ(set.GatherValues()[12], 10.0f);
  EXPECT_THAT(set.GatherObserved(), testing::Each(1.0f));
}

TEST(VectorSet, ALimitSpreadsOverAllOfThem) {
  std::vector<float> scaled(1000), observed(1000, 1.0f);
  std::iota(scaled.begin(), scaled.end(), 0.0f);
  const VectorSet set(scaled, observed, 1, 1, {{0, 500}, {500, 500}}, 10);
  ASSERT_EQ(set.size(), 10u);
  std::set<int> hundreds;
  for (size_t i = 0; i < set.size(); ++i) hundreds.insert(static_cast<int>(set.values(i)[0]) / 100);
  EXPECT_EQ(hundreds.size(), 10u);
}

TEST(VectorSet, WithoutAMaskEverythingIsObserved) {
  const std::vector<float> scaled(12);
  const VectorSet set(scaled, {}, 2, 3, {{0, 6}});
  ASSERT_EQ(set.size(), 4u);
  EXPECT_THAT(set.observed(3), ElementsAre(1, 1, 1, 1, 1, 1));
  EXPECT_THAT(set.GatherObserved(), testing::Each(1.0f));
}

TEST(VectorSet, OfASpreadSetASpreadIsAPart) {
  std::vector<float> scaled(1000);
  std::iota(scaled.begin(), scaled.end(), 0.0f);
  const VectorSet set(scaled, {}, 1, 2, {{0, 400}, {400, 1}, {500, 500}}, 100);
  const VectorSet part = set.Spread(10);
  ASSERT_EQ(part.size(), 10u);
  for (size_t i = 0; i < 10; ++i) EXPECT_EQ(part.values(i)[0], set.values(10 * i)[0]);
  // 399 windows of the first segment, 499 of the last: vector 449 is the 51st of that.
  EXPECT_EQ(set.values(50)[0], 550.0f);
}

}  // namespace
}  // namespace astray
