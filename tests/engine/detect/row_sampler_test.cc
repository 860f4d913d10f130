#include "engine/detect/row_sampler.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

namespace astray {
namespace {

constexpr absl::Time kStart = absl::UnixEpoch();

// Of the next `rows`, those that count.
std::vector<size_t> Sample(RowSampler& sampler, size_t rows, absl::Time now) {
  std::vector<size_t> counted;
  sampler.Begin(now);
  for (size_t row = 0; sampler.Next(rows, &row);) counted.push_back(row);
  return counted;
}

std::vector<size_t> Counted(RowSampler& sampler, size_t calls, size_t rows, absl::Duration step) {
  std::vector<size_t> counted;
  for (size_t call = 0; call < calls; ++call) {
    for (const size_t row : Sample(sampler, rows, kStart + static_cast<double>(call) * step)) {
      counted.push_back(call * rows + row);
    }
  }
  return counted;
}

TEST(RowSampler, CountsEveryRowWhereTheyAreFewAndIndependent) {
  RowSampler sampler({.spacing = 1, .rows_per_second = 10, .burst_rows = 20}, 1);
  const std::vector<size_t> counted = Counted(sampler, 1000, 1, absl::Milliseconds(100));
  EXPECT_EQ(counted.size(), 1000u);
}

TEST(RowSampler, KeepsItsDistanceAcrossCalls) {
  for (const size_t rows : {1, 7, 256}) {
    RowSampler sampler({.spacing = 24, .rows_per_second = 1e9, .burst_rows = 1e9}, 2);
    const std::vector<size_t> counted = Counted(sampler, 20'000 / rows, rows, absl::Seconds(1));
    ASSERT_GT(counted.size(), 400u);
    std::map<size_t, int> distances;
    for (size_t i = 1; i < counted.size(); ++i) ++distances[counted[i] - counted[i - 1]];
    EXPECT_GE(distances.begin()->first, 24u);
    EXPECT_LT(distances.rbegin()->first, 48u);
    EXPECT_GT(distances.size(), 20u);
  }
}

TEST(RowSampler, ManyRowsASecondAreThinnedToTheRate) {
  RowSampler sampler({.spacing = 1, .rows_per_second = 10, .burst_rows = 50}, 3);
  // 100,000 rows a second for 100 seconds.
  const std::vector<size_t> counted = Counted(sampler, 10'000, 1000, absl::Milliseconds(10));
  EXPECT_LE(counted.size(), 1050u);
  EXPECT_GT(counted.size(), 500u);
  // Not the first of each call: a call's first row may always be the same machine's.
  std::map<size_t, int> places;
  for (const size_t row : counted) ++places[row % 1000 / 100];
  for (const auto& [tenth, count] : places) EXPECT_GT(count, 20) << tenth;
  EXPECT_EQ(places.size(), 10u);
}

TEST(RowSampler, RowsThatBecomeFewAreAllCountedAgain) {
  RowSampler sampler({.spacing = 1, .rows_per_second = 10, .burst_rows = 50}, 3);
  Counted(sampler, 10'000, 1000, absl::Milliseconds(10));  // 100 seconds
  size_t counted = 0;
  for (int second = 100; second < 1100; ++second) {
    counted += Sample(sampler, 1, kStart + absl::Seconds(second)).size();
  }
  EXPECT_GT(counted, 950u);
}

TEST(RowSampler, MachinesThatTakeTurnsAreCountedAlike) {
  constexpr size_t kMachines = 24;
  RowSampler sampler({.spacing = 24, .rows_per_second = 1e9, .burst_rows = 1e9}, 4);
  std::map<size_t, int> machines;
  for (const size_t row : Counted(sampler, 1, 1'000'000, absl::Seconds(1))) ++machines[row % kMachines];
  EXPECT_EQ(machines.size(), kMachines);
  for (const auto& [machine, count] : machines) EXPECT_NEAR(count, 1'000'000 / 35.5 / kMachines, 200) << machine;
}

TEST(RowSampler, AClockThatIsSetBackGivesNothing) {
  RowSampler sampler({.spacing = 1, .rows_per_second = 10, .burst_rows = 2}, 5);
  EXPECT_EQ(Sample(sampler, 2, kStart + absl::Hours(1)).size(), 2u);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(Sample(sampler, 5, kStart).empty());
}

}  // namespace
}  // namespace astray
