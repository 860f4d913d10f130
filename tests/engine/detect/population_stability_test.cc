#include "engine/detect/population_stability.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "engine/base/random.h"

namespace astray {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
using Profiles = google::protobuf::RepeatedPtrField<v1::ColumnProfile>;
using Columns = std::vector<std::vector<float>>;

Profiles MeasureAll(const Columns& columns) {
  Profiles profiles;
  std::vector<float> scratch;
  for (const std::vector<float>& column : columns) {
    *profiles.Add() = MeasureColumn("x", column, 1, 0, &scratch)->profile;
  }
  return profiles;
}

// With the formula of the header, values compared with the cuts one by one.
double ReferencePsi(const v1::ColumnProfile& profile, const std::vector<float>& live) {
  const auto trained_rows = static_cast<double>(profile.observed() + profile.missing());
  const auto bins = static_cast<double>(profile.shares_size() + 1);
  double psi = 0;
  int filled = 0;
  for (int bin = 0; bin <= profile.shares_size(); ++bin) {
    const bool is_missing = bin == profile.shares_size();
    double count = 0;
    for (const float value : live) {
      const bool above = !is_missing && (bin == 0 || value > profile.deciles(bin - 1));
      const bool within = !is_missing && (bin == profile.deciles_size() || value <= profile.deciles(bin));
      count += (is_missing ? std::isnan(value) : above && within && !std::isnan(value)) ? 1 : 0;
    }
    const double trained_count = is_missing ? static_cast<double>(profile.missing())
                                            : profile.shares(bin) * static_cast<double>(profile.observed());
    filled += trained_count > 0 ? 1 : 0;
    const double a = (count + 0.5) / (static_cast<double>(live.size()) + 0.5 * bins);
    const double b = (trained_count + 0.5) / (trained_rows + 0.5 * bins);
    psi += (a - b) * std::log(a / b);
  }
  return std::max(psi - (filled - 1) * (1 / static_cast<double>(live.size()) + 1 / trained_rows), 0.0);
}

std::vector<float> Normals(size_t n, double mean, Random& random) {
  std::vector<float> values(n);
  for (float& value : values) value = static_cast<float>(mean + random.Normal());
  return values;
}

void AddAll(const Columns& live, PopulationStability* stability) {
  std::vector<float> row(live.size());
  for (size_t i = 0; i < live.front().size(); ++i) {
    for (size_t f = 0; f < live.size(); ++f) row[f] = live[f][i];
    stability->Add(row);
  }
}

TEST(PopulationStability, MatchesBruteForce) {
  Random random(1);
  Columns trained, live;
  const auto add = [&](auto draw_trained, auto draw_live) {
    std::vector<float> t(3000), l(200);
    for (float& value : t) value = draw_trained();
    for (float& value : l) value = draw_live();
    trained.push_back(t);
    live.push_back(l);
  };
  const auto normal = [&](double mean, double missing) {
    return [&random, mean, missing] {
      return random.Uniform() < missing ? kNaN : static_cast<float>(mean + random.Normal());
    };
  };
  const auto few = [&](uint64_t values) {
    return [&random, values] { return static_cast<float>(random.UniformInt(values)); };
  };
  add(normal(0, 0), normal(0.5, 0));
  add(normal(0, 0.1), normal(0, 0.5));
  add(few(2), few(3));
  add(few(5), few(4));
  add([] { return 7.0f; }, [&] { return random.Uniform() < 0.3 ? 8.0f : 7.0f; });
  add([] { return 0.0f; }, few(2));
  const Profiles profiles = MeasureAll(trained);
  PopulationStability stability(profiles, 1e12, 1);
  AddAll(live, &stability);
  for (size_t f = 0; f < trained.size(); ++f) {
    const FeatureShift shift = stability.Shift(f);
    ASSERT_TRUE(shift.psi.has_value());
    EXPECT_NEAR(*shift.psi, ReferencePsi(profiles[static_cast<int>(f)], live[f]), 1e-4) << f;
    EXPECT_NEAR(*shift.recent_psi, *shift.psi, 1e-4) << f;
    EXPECT_NEAR(shift.trained_missing_ratio, f == 1 ? 0.1 : 0, 0.02) << f;
  }
  EXPECT_TRUE(stability.Shift(1).went_missing);
  EXPECT_FALSE(stability.Shift(0).went_missing);
  EXPECT_TRUE(stability.Shift(4).shifted);  // a constant that is none any more
}

TEST(PopulationStability, StationaryFeaturesStayStable) {
  constexpr size_t kFeatures = 200;
  Random random(2);
  Columns trained, live;
  for (size_t f = 0; f < kFeatures; ++f) {
    trained.push_back(Normals(2000, 0, random));
    live.push_back(Normals(3000, 0, random));
  }
  PopulationStability stability(MeasureAll(trained), 1000, 1);
  double largest = 0, sum = 0;
  std::vector<float> row(kFeatures);
  for (size_t i = 0; i < live.front().size(); ++i) {
    for (size_t f = 0; f < kFeatures; ++f) row[f] = live[f][i];
    stability.Add(row);
    if (i % 100 != 99 || i < 127) continue;
    for (size_t f = 0; f < kFeatures; ++f) {
      const FeatureShift shift = stability.Shift(f);
      largest = std::max(largest, *shift.recent_psi);
      EXPECT_FALSE(shift.shifted || shift.recently_shifted || shift.went_missing);
      if (i == live.front().size() - 1) sum += *shift.psi;
    }
  }
  std::printf("stationary: largest PSI of 128 rows %.3f, mean of 1000 %.4f\n", largest, sum / kFeatures);
  EXPECT_LT(largest, 0.2);
  EXPECT_LT(sum / kFeatures, 0.01);
}

TEST(PopulationStability, SpeaksOfRecentRows) {
  Random random(3);
  PopulationStability stability(MeasureAll({Normals(5000, 0, random)}), 1000, 1);
  AddAll({Normals(5000, 0, random)}, &stability);
  EXPECT_FALSE(stability.Shift(0).shifted);
  AddAll({Normals(512, 2, random)}, &stability);
  EXPECT_TRUE(stability.Shift(0).recently_shifted);
  AddAll({Normals(2000, 2, random)}, &stability);
  EXPECT_TRUE(stability.Shift(0).shifted);
  AddAll({Normals(8000, 0, random)}, &stability);  // and forgives
  EXPECT_FALSE(stability.Shift(0).shifted);
  EXPECT_FALSE(stability.Shift(0).recently_shifted);
}

TEST(PopulationStability, SaysNothingOfFewRowsOrWithoutBins) {
  Random random(4);
  Profiles profiles = MeasureAll({Normals(100, 0, random), Normals(100, 0, random)});
  profiles[1].clear_deciles();
  profiles[1].clear_shares();
  PopulationStability stability(profiles, 1000, 1);
  EXPECT_FALSE(stability.Shift(0).psi.has_value());
  AddAll({Normals(127, 9, random), Normals(127, 9, random)}, &stability);
  EXPECT_FALSE(stability.Shift(0).psi.has_value());
  AddAll({Normals(1, 9, random), Normals(1, 9, random)}, &stability);
  EXPECT_TRUE(stability.Shift(0).shifted);
  EXPECT_FALSE(stability.Shift(1).psi.has_value());
  EXPECT_FALSE(stability.Shift(1).shifted);
}

}  // namespace
}  // namespace astray
