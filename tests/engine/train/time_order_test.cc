#include "engine/train/time_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <utility>

#include "engine/base/random.h"

namespace astray {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// x[i] = rho x[i-1] + noise, whose lag-1 autocorrelation is rho; the second column is noise.
Dataset Autoregression(double rho, size_t rows) {
  Dataset data{.feature_names = {"a", "b"}};
  Random random(1);
  double x = 0;
  for (size_t i = 0; i < rows; ++i) {
    x = rho * x + random.Normal();
    data.values.push_back(static_cast<float>(x));
    data.values.push_back(static_cast<float>(random.Normal()));
  }
  return data;
}

TEST(TimeOrder, AutocorrelationIsThatOfTheProcess) {
  for (const double rho : {-0.5, 0.0, 0.5, 0.9}) {
    const Dataset data = Autoregression(rho, 20'000);
    EXPECT_NEAR(Autocorrelations(data)[0], rho, 0.03);
    EXPECT_NEAR(Autocorrelations(data)[1], 0, 0.03);
  }
}

TEST(TimeOrder, AutocorrelationOfAHandfulIsTheFormulas) {
  // Mean 2, deviations -1 0 1 (-) 0: pairs -1*0 + 0*1, over 2.
  EXPECT_NEAR(Autocorrelations({.feature_names = {"a"}, .values = {1, 2, 3, kNaN, 2}})[0], 0.0, 1e-12);
  // Deviations -1.5 -0.5 0.5 1.5: (0.75 - 0.25 + 0.75) / 5.
  EXPECT_NEAR(Autocorrelations({.feature_names = {"a"}, .values = {1, 2, 3, 4}})[0], 0.25, 1e-12);
  EXPECT_EQ(Autocorrelations({.feature_names = {"a"}, .values = {7, 7, 7}})[0], 0);
  EXPECT_EQ(Autocorrelations({.feature_names = {"a"}, .values = {kNaN, kNaN}})[0], 0);
}

TEST(TimeOrder, TimestampsOrASlowFeatureSaySo) {
  EXPECT_TRUE(TimeOrder(Autoregression(0.99, 5000)).IsTimeOrdered());
  Dataset data = Autoregression(0.5, 5000);
  EXPECT_FALSE(TimeOrder(data).IsTimeOrdered());
  data.timestamps.assign(5000, "t");
  EXPECT_TRUE(TimeOrder(data).IsTimeOrdered());
  data.timestamps.clear();
  data.timed = true;
  EXPECT_TRUE(TimeOrder(data).IsTimeOrdered()) << "times that were not kept";
}

TEST(TimeOrder, ASingleColumnIsASeriesWhereItsValuesFollowFromEachOther) {
  for (const auto& [rho, series] : {std::pair{0.6, true}, std::pair{0.4, false}}) {
    const Dataset two = Autoregression(rho, 5000);
    Dataset one{.feature_names = {"a"}};
    for (size_t i = 0; i < two.rows(); ++i) one.values.push_back(two.row(i)[0]);
    EXPECT_EQ(TimeOrder(one).IsTimeOrdered(), series) << rho;
    EXPECT_FALSE(TimeOrder(two).IsTimeOrdered()) << rho;
  }
}

TEST(TimeOrder, GoesThroughTheRowsForTheFirstOneThatAsksOnly) {
  Dataset data = Autoregression(0.99, 5000);
  const std::vector<double> expected = Autocorrelations(data);
  TimeOrder order(data);
  EXPECT_TRUE(order.IsTimeOrdered());
  data.values.assign(data.values.size(), 0.0f);  // what is looked at again would differ
  EXPECT_EQ(order.autocorrelations(), expected);
  EXPECT_TRUE(order.IsTimeOrdered());
  v1::FeaturesRecipe features;
  EXPECT_TRUE(order.IsTimeOrdered(features));
  features.mutable_log();
  EXPECT_FALSE(order.IsTimeOrdered(features)) << "sessions overlap";
}

TEST(TimeOrder, RunsBeginWithAnotherEntityAndAfterAPause) {
  Dataset data{.feature_names = {"a"},
               .values = {1, 2, 3, 4, 5, 6},
               .timestamps = {"0", "10", "75", "76", "20", "?"},
               .entities = {"x", "x", "x", "y", "y", "y"}};
  EXPECT_THAT(RunBegins(data, 0), testing::ElementsAre(3));
  EXPECT_THAT(RunBegins(data, 60), testing::ElementsAre(2, 3, 4));
  EXPECT_THAT(RunBegins(data, 65), testing::ElementsAre(3, 4)) << "no longer than that";
  data.entities.clear();
  EXPECT_THAT(RunBegins(data, 60), testing::ElementsAre(2, 4));
  data.timestamps.clear();
  EXPECT_THAT(RunBegins(data, 60), testing::IsEmpty());
  data.seconds = {0, 10, 75, 76, 20, std::numeric_limits<double>::quiet_NaN()};
  EXPECT_THAT(RunBegins(data, 60), testing::ElementsAre(2, 4)) << "the same of times that were read before";
}

}  // namespace
}  // namespace astray
