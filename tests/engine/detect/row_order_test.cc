#include "engine/detect/row_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/base/random.h"

namespace astray {
namespace {

using Place = RowOrder::Place;

std::vector<uint64_t> Rows(const std::vector<RowOrder::Next>& next) {
  std::vector<uint64_t> rows;
  for (const RowOrder::Next& n : next) rows.push_back(n.row);
  return rows;
}

TEST(RowOrder, WithoutToleranceARowGoesOnAtOnce) {
  const StreamPolicy policy;
  RowOrder order(&policy);
  std::vector<RowOrder::Next> next;
  EXPECT_EQ(order.Take(0, 10, &next), Place::kTaken);
  EXPECT_EQ(order.Take(1, 11, &next), Place::kTaken);
  EXPECT_EQ(order.Take(2, 11, &next), Place::kDuplicate);
  EXPECT_EQ(order.Take(3, 10, &next), Place::kDuplicate);
  EXPECT_EQ(order.Take(4, 10.5, &next), Place::kLate);
  EXPECT_EQ(order.Take(5, 12, &next), Place::kTaken);
  EXPECT_THAT(Rows(next), testing::ElementsAre(0, 1, 5));
  EXPECT_EQ(order.held(), 0u);
}

// Whatever the order in which rows come, if none is later than the tolerance they go on as if sorted.
TEST(RowOrder, RowsThatOvertookEachOtherAreSorted) {
  const StreamPolicy policy = {.tolerance_seconds = 5};
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Random random(seed, 0);
    std::vector<std::pair<double, uint64_t>> arrivals;  // when it comes, and its time, which is its number
    for (uint64_t time = 0; time < 200; ++time) {
      arrivals.emplace_back(static_cast<double>(time) + 4.9 * random.Uniform(), time);
    }
    std::ranges::sort(arrivals);
    RowOrder order(&policy);
    std::vector<RowOrder::Next> next;
    for (const auto& [when, time] : arrivals) {
      ASSERT_EQ(order.Take(time, static_cast<double>(time), &next), Place::kTaken);
      EXPECT_LE(order.held(), 10u);
    }
    order.ReleaseAll(&next);
    ASSERT_EQ(next.size(), 200u);
    for (uint64_t i = 0; i < 200; ++i) ASSERT_EQ(next[i].row, i);
  }
}

TEST(RowOrder, AHeldRowsTimeIsTaken) {
  const StreamPolicy policy = {.tolerance_seconds = 5};
  RowOrder order(&policy);
  std::vector<RowOrder::Next> next;
  order.Take(0, 10, &next);
  EXPECT_EQ(order.Take(1, 10, &next), Place::kDuplicate);
  EXPECT_TRUE(next.empty());
  order.Release(10, &next);
  EXPECT_THAT(Rows(next), testing::ElementsAre(0));
  EXPECT_EQ(order.Take(2, 9, &next), Place::kLate) << "what was released does not come back";
}

TEST(RowOrder, APauseBeginsANewWindow) {
  const StreamPolicy policy = {.max_gap_seconds = 60};
  RowOrder order(&policy);
  std::vector<RowOrder::Next> next;
  for (const double time : {0.0, 60.0, 120.5, 121.0}) order.Take(0, time, &next);
  ASSERT_EQ(next.size(), 4u);
  EXPECT_FALSE(next[0].restart);
  EXPECT_FALSE(next[1].restart);
  EXPECT_TRUE(next[2].restart);
  EXPECT_FALSE(next[3].restart);
}

// A device whose clock jumps back for good is not silent for ever, and one stray time does not silence it either.
TEST(RowOrder, AClockThatIsSetBackBeginsANewWindow) {
  const StreamPolicy policy;
  RowOrder order(&policy);
  std::vector<RowOrder::Next> next;
  order.Take(0, 1.8e9, &next);
  order.Take(1, 1.8e9 + 1, &next);
  next.clear();
  size_t late = 0;
  for (uint64_t i = 0; i < 100; ++i) {
    late += order.Take(2 + i, static_cast<double>(i), &next) == Place::kLate ? 1 : 0;
  }
  EXPECT_EQ(late, RowOrder::kClockSetBackRows - 1);
  ASSERT_EQ(next.size(), 100 - late);
  EXPECT_TRUE(next[0].restart);
  EXPECT_FALSE(next[1].restart);
  order.Take(200, 4e9, &next);  // years ahead
  late = 0;
  for (uint64_t i = 100; i < 200; ++i) late += order.Take(2 + i, static_cast<double>(i), &next) == Place::kLate ? 1 : 0;
  EXPECT_EQ(late, RowOrder::kClockSetBackRows - 1);
}

TEST(RowOrder, LateRowsInDisorderAreNoClock) {
  const StreamPolicy policy;
  RowOrder order(&policy);
  std::vector<RowOrder::Next> next;
  order.Take(0, 1000, &next);
  for (uint64_t i = 0; i < 100; ++i) EXPECT_EQ(order.Take(1 + i, 900 - static_cast<double>(i), &next), Place::kLate);
}

TEST(RowOrder, WhatIsHeldIsBounded) {
  const StreamPolicy policy = {.tolerance_seconds = 1e9};
  RowOrder order(&policy);
  std::vector<RowOrder::Next> next;
  for (uint64_t i = 0; i < 5000; ++i) order.Take(i, static_cast<double>(i), &next);
  EXPECT_EQ(order.held(), RowOrder::kMaxHeldRows);
  EXPECT_EQ(next.size(), 5000 - RowOrder::kMaxHeldRows);
}

}  // namespace
}  // namespace astray
