#include "engine/features/column_profile.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace astray {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

ColumnStatistics Measure(const std::vector<float>& column) {
  std::vector<float> scratch;
  auto statistics = MeasureColumn("x", column, 1, 0, &scratch);
  EXPECT_TRUE(statistics.ok()) << statistics.status();
  return *statistics;
}

// numpy.percentile and numpy.std of the same numbers.
TEST(ColumnProfile, MatchesNumpy) {
  const ColumnStatistics statistics = Measure({4, 1, kNaN, 10, 2, 8.5, -3, kNaN});
  EXPECT_EQ(statistics.profile.observed(), 6u);
  EXPECT_EQ(statistics.profile.missing(), 2u);
  EXPECT_DOUBLE_EQ(statistics.profile.min(), -3);
  EXPECT_DOUBLE_EQ(statistics.profile.max(), 10);
  EXPECT_DOUBLE_EQ(statistics.profile.mean(), 3.75);
  EXPECT_NEAR(statistics.profile.standard_deviation(), 4.4323620489907336, 1e-14);
  EXPECT_DOUBLE_EQ(statistics.profile.median(), 3);
  EXPECT_DOUBLE_EQ(statistics.first_quartile, 1.25);
  EXPECT_DOUBLE_EQ(statistics.third_quartile, 7.375);
  EXPECT_FALSE(statistics.profile.constant());
}

TEST(ColumnProfile, ReadsItsColumnOnly) {
  std::vector<float> scratch;
  const std::vector<float> rows = {1, 100, 2, 200, 3, 300};
  const auto statistics = MeasureColumn("second", rows, 2, 1, &scratch);
  ASSERT_TRUE(statistics.ok());
  EXPECT_DOUBLE_EQ(statistics->profile.mean(), 200);
}

TEST(ColumnProfile, KnowsConstantColumns) {
  EXPECT_TRUE(Measure({0.1f, 0.1f, 0.1f}).profile.constant());
  EXPECT_DOUBLE_EQ(Measure({0.1f, 0.1f, 0.1f}).profile.standard_deviation(), 0);
  EXPECT_TRUE(Measure({0, 0}).profile.constant());
  EXPECT_TRUE(Measure({7}).profile.constant());
  // Steps of float32 at 1e9 are 64.
  EXPECT_TRUE(Measure({1e9f, std::nextafterf(1e9f, 2e9f), 1e9f}).profile.constant());
  EXPECT_TRUE(Measure({-1e9f, std::nextafterf(-1e9f, 0), -1e9f}).profile.constant());
  EXPECT_FALSE(Measure({1e9f, 1.00001e9f}).profile.constant());
  EXPECT_FALSE(Measure({0, 1e-20f}).profile.constant());
}

TEST(ColumnProfile, SurvivesTheLargestNumbers) {
  constexpr float kMax = std::numeric_limits<float>::max();
  const ColumnStatistics statistics = Measure({-kMax, kMax});
  EXPECT_DOUBLE_EQ(statistics.profile.mean(), 0);
  EXPECT_DOUBLE_EQ(statistics.profile.standard_deviation(), kMax);
}

TEST(ColumnProfile, NamesAColumnWithoutValuesAndAnInfinity) {
  std::vector<float> scratch;
  EXPECT_EQ(MeasureColumn("flow", std::vector<float>(400, kNaN), 1, 0, &scratch).status(),
            absl::InvalidArgumentError("column 'flow': expected values, all 400 are missing"));
  EXPECT_EQ(MeasureColumn("flow", std::vector<float>{1, 2, HUGE_VALF}, 1, 0, &scratch).status(),
            absl::InvalidArgumentError("column 'flow' row 2: expected a finite number, got inf"));
}

std::vector<double> Numbers(const google::protobuf::RepeatedField<double>& field) {
  return {field.begin(), field.end()};
}

TEST(ColumnProfile, DecilesAreValuesThatCutTheColumnInTenths) {
  std::vector<float> values;
  for (int i = 1000; i > 0; --i) values.push_back(static_cast<float>(i * 7 % 1009));  // each once
  std::vector<float> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  values.push_back(kNaN);
  const v1::ColumnProfile profile = Measure(values).profile;
  ASSERT_EQ(profile.deciles_size(), 9);
  ASSERT_EQ(profile.shares_size(), 10);
  for (int i = 0; i < 9; ++i) EXPECT_EQ(profile.deciles(i), sorted[static_cast<size_t>(100 * (i + 1) - 1)]);
  for (const double share : profile.shares()) EXPECT_DOUBLE_EQ(share, 0.1);
}

TEST(ColumnProfile, TiesShareABinAndWhatTrainingNeverSawHasOne) {
  // Mostly 0: less than 0, 0, and more.
  const v1::ColumnProfile mostly = Measure({0, 0, 0, 0, 0, 0, 0, 0, 0, 5}).profile;
  EXPECT_EQ(Numbers(mostly.deciles()), (std::vector<double>{-std::numeric_limits<float>::denorm_min(), 0}));
  EXPECT_EQ(Numbers(mostly.shares()), (std::vector<double>{0, 0.9, 0.1}));
  // A switch: less than 1, 1, 2, more than 2.
  const v1::ColumnProfile binary = Measure({1, 2, 1, 2}).profile;
  EXPECT_EQ(Numbers(binary.deciles()), (std::vector<double>{std::nextafterf(1, 0), 1, 2}));
  EXPECT_EQ(Numbers(binary.shares()), (std::vector<double>{0, 0.5, 0.5, 0}));
}

TEST(ColumnProfile, AConstantIsABinWithRoomForRounding) {
  for (const float value :
       {7.0f, -7.0f, 0.0f, 1e9f, std::numeric_limits<float>::max(), -std::numeric_limits<float>::max()}) {
    SCOPED_TRACE(value);
    const v1::ColumnProfile profile = Measure({value, value}).profile;
    ASSERT_GE(profile.deciles_size(), 1);
    const auto bin = [&](float live) {
      return profile.shares(static_cast<int>(
          std::count_if(profile.deciles().begin(), profile.deciles().end(), [&](double cut) { return live > cut; })));
    };
    EXPECT_EQ(bin(value), 1);
    EXPECT_EQ(bin(value - std::abs(value) * 1e-7f), 1);
    if (std::abs(value) < 1e30) {
      EXPECT_EQ(bin(value + std::max(std::abs(value) * 1e-5f, 1e-30f)), 0);
      EXPECT_EQ(bin(value - std::max(std::abs(value) * 1e-5f, 1e-30f)), 0);
    }
  }
}

}  // namespace
}  // namespace astray
