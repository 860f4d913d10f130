#include "engine/train/data_split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace astray {
namespace {

using ::testing::HasSubstr;

v1::Recipe MakeRecipe(uint32_t window, double validation = 0.1, double calibration = 0.2) {
  v1::Recipe recipe;
  recipe.set_seed(1);
  recipe.mutable_features()->set_window(window);
  recipe.mutable_training()->set_validation_fraction(static_cast<float>(validation));
  recipe.mutable_calibration()->set_holdout_fraction(static_cast<float>(calibration));
  return recipe;
}

size_t RowsIn(const std::vector<Segment>& segments) {
  return std::accumulate(segments.begin(), segments.end(), size_t{0},
                         [](size_t sum, const Segment& s) { return sum + s.rows; });
}

// Every row is in exactly one part.
void ExpectPartition(const DataSplit& split, size_t rows) {
  std::vector<int> uses(rows);
  for (const auto* part : {&split.training, &split.validation, &split.calibration}) {
    for (const Segment& segment : *part) {
      ASSERT_LE(segment.begin + segment.rows, rows);
      for (size_t i = 0; i < segment.rows; ++i) ++uses[segment.begin + i];
    }
  }
  EXPECT_THAT(uses, testing::Each(1));
  if (split.order.empty()) return;  // the rows' own
  std::vector<uint32_t> order(split.order.begin(), split.order.end());
  std::sort(order.begin(), order.end());
  for (uint32_t i = 0; i < rows; ++i) ASSERT_EQ(order[i], i);
}

TEST(DataSplit, PartsHaveTheirShares) {
  const auto split = SplitData(MakeRecipe(1), 1000, false);
  ASSERT_TRUE(split.ok()) << split.status();
  ExpectPartition(*split, 1000);
  EXPECT_EQ(RowsIn(split->training), 700u);
  EXPECT_EQ(RowsIn(split->validation), 100u);
  EXPECT_EQ(RowsIn(split->calibration), 200u);
}

TEST(DataSplit, RowsWithoutTimeAreShuffledBySeed) {
  v1::Recipe recipe = MakeRecipe(1);
  const auto split = SplitData(recipe, 1000, false), again = SplitData(recipe, 1000, false);
  EXPECT_FALSE(std::is_sorted(split->order.begin(), split->order.end()));
  EXPECT_EQ(split->order, again->order);
  recipe.set_seed(2);
  EXPECT_NE(SplitData(recipe, 1000, false)->order, split->order);
}

TEST(DataSplit, WindowsKeepTheRowsOrderWithTimestampsOrWithout) {
  const auto split = SplitData(MakeRecipe(5), 1000, false);
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_TRUE(std::is_sorted(split->order.begin(), split->order.end()));
}

TEST(DataSplit, TimeKeepsItsOrderAndLongDataIsCutIntoBlocks) {
  for (const auto& [window, rows, blocks] :
       {std::tuple<uint32_t, size_t, size_t>{20, 400, 1}, {20, 10'007, 5}, {1, 1'000'000, 10}}) {
    const auto split = SplitData(MakeRecipe(window), rows, true);
    ASSERT_TRUE(split.ok()) << split.status();
    ExpectPartition(*split, rows);
    EXPECT_TRUE(std::is_sorted(split->order.begin(), split->order.end()));
    EXPECT_EQ(split->training.size(), blocks);
    for (size_t i = 0; i < blocks; ++i) {
      EXPECT_LT(split->training[i].begin, split->validation[i].begin);
      EXPECT_LT(split->validation[i].begin, split->calibration[i].begin) << "held out is later than what taught";
    }
  }
}

TEST(DataSplit, SaysHowManyRowsItTakes) {
  for (const size_t rows : {size_t{1}, size_t{2}, size_t{20}, size_t{39}}) {
    const auto status = SplitData(MakeRecipe(1), rows, false).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(),
              "data: expected at least 40 rows to train, validate and calibrate on windows of 1 row, got " +
                  std::to_string(rows));
  }
  EXPECT_THAT(SplitData(MakeRecipe(20), 115, true).status().message(), HasSubstr("expected at least 116 rows"));
  for (const auto& [window, rows] : {std::pair<uint32_t, size_t>{1, 40}, {20, 116}, {1, 100}}) {
    const auto split = SplitData(MakeRecipe(window), rows, true);
    ASSERT_TRUE(split.ok()) << split.status();
    ExpectPartition(*split, rows);
    for (const auto* part : {&split->training, &split->validation, &split->calibration}) {
      EXPECT_GE(RowsIn(*part), window + 9) << "ten windows in each part";
    }
  }
}

TEST(DataSplit, RefusesSharesThatLeaveNothingToLearnFrom) {
  EXPECT_THAT(SplitData(MakeRecipe(1, 0.5, 0.5), 100, false).status().message(),
              HasSubstr("leave too few of the 100 rows to train on"));
}

TEST(DataSplit, NoSegmentSpansTwoRuns) {
  std::vector<uint32_t> begins;
  for (uint32_t i = 37; i < 2000; i += 37) begins.push_back(i);
  const auto split = SplitData(MakeRecipe(5), 2000, true, begins);
  ASSERT_TRUE(split.ok()) << split.status();
  ExpectPartition(*split, 2000);
  for (const auto* part : {&split->training, &split->validation, &split->calibration}) {
    for (const Segment& segment : *part) {
      ASSERT_GT(segment.rows, 0u);
      EXPECT_EQ(segment.begin / 37, (segment.begin + segment.rows - 1) / 37);
    }
  }
  const auto refused = SplitData(MakeRecipe(40), 2000, true, begins);
  EXPECT_THAT(
      refused.status().message(),
      HasSubstr("that windows of 40 rows fit in, got 0 windows where 10 are needed: a smaller features.window"));
  EXPECT_TRUE(SplitData(MakeRecipe(1), 2000, false, begins).ok()) << "rows judged alone are shuffled as ever";
}

// Machines of 3,000, 95, 250, 40 and 500 rows, one behind the other.
TEST(DataSplit, WhatIsSplitApartHasItsSharesWhereItIsLongEnough) {
  const std::vector<uint32_t> begins = {3000, 3095, 3345, 3385};
  constexpr size_t kRows = 3885;
  const auto split = SplitData(MakeRecipe(1), kRows, true, begins, {}, begins);
  ASSERT_TRUE(split.ok()) << split.status();
  ExpectPartition(*split, kRows);
  const auto rows_of = [&](const std::vector<Segment>& part, size_t begin, size_t end) {
    size_t rows = 0;
    for (const Segment& segment : part) {
      if (segment.begin >= begin && segment.begin < end) rows += segment.rows;
    }
    return rows;
  };
  // A tenth of 95 rows are not the ten vectors of a part: they go with the 250 after them, and 40 with the 500.
  for (const auto& [begin, end] : {std::pair(0, 3000), std::pair(3000, 3345), std::pair(3345, 3885)}) {
    EXPECT_NEAR(static_cast<double>(rows_of(split->calibration, begin, end)) / (end - begin), 0.2, 0.01) << begin;
    EXPECT_NEAR(static_cast<double>(rows_of(split->validation, begin, end)) / (end - begin), 0.1, 0.01) << begin;
  }
  EXPECT_EQ(split->calibration.front().rows, 60u) << "a long one in blocks, as ever";
  // Of twenty machines together, ten blocks hold no row of every second one out.
  std::vector<uint32_t> machines;
  for (uint32_t i = 200; i < 4000; i += 200) machines.push_back(i);
  const auto together = SplitData(MakeRecipe(1), 4000, true, machines),
             each = SplitData(MakeRecipe(1), 4000, true, machines, {}, machines);
  for (size_t begin = 0; begin < 4000; begin += 200) {
    EXPECT_EQ(rows_of(together->calibration, begin, begin + 200), begin % 400 == 0 ? 0u : 80u);
    EXPECT_EQ(rows_of(each->calibration, begin, begin + 200), 40u);
  }
  // At the end, too few rows go with those before them; where all are too few, it is as if they were one.
  const auto short_end = SplitData(MakeRecipe(1), 1050, true, {}, {}, std::vector<uint32_t>{1000});
  ASSERT_TRUE(short_end.ok());
  ExpectPartition(*short_end, 1050);
  EXPECT_EQ(RowsIn(short_end->calibration), 210u);
  std::vector<uint32_t> every;
  for (uint32_t i = 1; i < 60; ++i) every.push_back(i);
  const auto all_short = SplitData(MakeRecipe(1), 60, true, {}, {}, every);
  ASSERT_TRUE(all_short.ok()) << all_short.status();
  EXPECT_EQ(all_short->calibration.size(), 1u);
  // Rows that are shuffled are of all machines anyway.
  EXPECT_EQ(SplitData(MakeRecipe(1), kRows, false, begins, {}, begins)->calibration.size(), 1u);
}

}  // namespace
}  // namespace astray
