#include "engine/features/scaler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "engine/base/random.h"

namespace astray {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr v1::Scaling kScalings[] = {v1::STANDARD, v1::MIN_MAX, v1::ROBUST};

Scaler Fit(v1::Scaling scaling, const std::vector<std::string>& names, const std::vector<float>& rows) {
  auto scaler = Scaler::Fit(scaling, names, rows);
  EXPECT_TRUE(scaler.ok()) << scaler.status();
  return *scaler;
}

std::vector<float> Apply(const Scaler& scaler, const std::vector<float>& rows) {
  std::vector<float> scaled(rows.size());
  std::vector<float> observed(rows.size());
  scaler.Apply(rows, scaled, observed);
  return scaled;
}

TEST(Scaler, StandardHasMeanZeroAndVarianceOne) {
  Random random(1);
  std::vector<float> rows(2000);
  random.FillNormal(rows);
  for (size_t i = 0; i < rows.size(); i += 2) rows[i] = rows[i] * 250 + 4000;
  const std::vector<float> scaled = Apply(Fit(v1::STANDARD, {"a", "b"}, rows), rows);
  for (size_t column = 0; column < 2; ++column) {
    double sum = 0;
    double squares = 0;
    for (size_t i = column; i < scaled.size(); i += 2) {
      sum += scaled[i];
      squares += static_cast<double>(scaled[i]) * scaled[i];
    }
    EXPECT_NEAR(sum / 1000, 0, 1e-5);
    EXPECT_NEAR(squares / 1000, 1, 1e-5);
  }
}

TEST(Scaler, MinMaxReachesZeroAndOne) {
  EXPECT_THAT(Apply(Fit(v1::MIN_MAX, {"a"}, {2, 6, 4, 3}), {2, 6, 4, 8}), ::testing::ElementsAre(0, 1, 0.5, 1.5));
}

// numpy: (x - median) / ((q75 - q25) / 1.3489795)
TEST(Scaler, RobustIgnoresAnOutlier) {
  const Scaler scaler = Fit(v1::ROBUST, {"a"}, {1, 2, 3, 4, 1e6f});
  EXPECT_DOUBLE_EQ(scaler.state().offset(0), 3);
  EXPECT_NEAR(scaler.state().scale(0), 2 / 1.3489795003921634, 1e-12);
}

TEST(Scaler, RobustTakesTheDeviationWhereTheQuartilesMeet) {
  std::vector<float> rows(100, 0.0f);
  rows[3] = 10;
  const Scaler scaler = Fit(v1::ROBUST, {"a"}, rows);
  EXPECT_NEAR(scaler.state().scale(0), std::sqrt(0.99), 1e-12);
  EXPECT_FALSE(scaler.state().profile(0).constant());
}

TEST(Scaler, ConstantColumnsSurvive) {
  for (const v1::Scaling scaling : kScalings) {
    for (const float constant : {0.0f, 5.0f, -0.1f, 1e9f, -3e38f, 1e-40f}) {
      const Scaler scaler = Fit(scaling, {"a"}, {constant, constant, constant});
      EXPECT_THAT(Apply(scaler, {constant, constant}), Each(0.0f)) << constant;
      EXPECT_TRUE(scaler.state().profile(0).constant());
      EXPECT_DOUBLE_EQ(scaler.state().scale(0), std::max(1.0, 1e-6 * std::abs(static_cast<double>(constant))));
      EXPECT_DOUBLE_EQ(scaler.state().fill(0), 0);
    }
  }
}

TEST(Scaler, NoiseOfTheNumberFormatIsNotBlownUp) {
  const float step_up = std::nextafterf(1e9f, 2e9f);
  for (const v1::Scaling scaling : kScalings) {
    for (const float scaled : Apply(Fit(scaling, {"a"}, {1e9f, step_up, 1e9f, 1e9f}), {1e9f, step_up})) {
      EXPECT_LE(std::abs(scaled), 0.1f);
    }
  }
}

TEST(Scaler, FillsAMissingValueAndMarksIt) {
  const std::vector<std::pair<v1::Scaling, float>> fills = {
      {v1::STANDARD, 0.0f}, {v1::MIN_MAX, 0.4f}, {v1::ROBUST, 0.0f}};
  for (const auto& [scaling, fill] : fills) {
    const Scaler scaler = Fit(scaling, {"a"}, {0, 5, kNaN, 1});
    std::vector<float> scaled(2);
    std::vector<float> observed(2);
    scaler.Apply(std::vector<float>{kNaN, 5}, scaled, observed);
    EXPECT_FLOAT_EQ(scaled[0], fill);
    EXPECT_THAT(observed, ::testing::ElementsAre(0, 1));
  }
}

TEST(Scaler, HoldsScaledValuesWithinItsLimit) {
  const Scaler scaler = Fit(v1::STANDARD, {"a"}, {-1, 1});
  constexpr float kMax = std::numeric_limits<float>::max();
  EXPECT_THAT(Apply(scaler, {kMax, -kMax, 3}), ::testing::ElementsAre(Scaler::kLimit, -Scaler::kLimit, 3));
}

TEST(Scaler, InvertUndoesApply) {
  Random random(2);
  std::vector<float> rows(600);
  random.FillNormal(rows);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = rows[i] * (i % 3 == 0 ? 1e-4f : 1e5f) + (i % 3 == 1 ? 2e6f : 0);
  for (const v1::Scaling scaling : kScalings) {
    const Scaler scaler = Fit(scaling, {"a", "b", "c"}, rows);
    std::vector<float> inverted(rows.size());
    scaler.Invert(Apply(scaler, rows), inverted);
    for (size_t i = 0; i < rows.size(); ++i) {
      EXPECT_NEAR(inverted[i], rows[i], 1e-6 * (std::abs(rows[i]) + scaler.state().scale(i % 3)));
    }
  }
}

TEST(Scaler, Log1pTakesTheLogarithmOfEitherSign) {
  const Scaler scaler = Fit(v1::LOG1P, {"a"}, {0, 9, 99, kNaN});
  const std::vector<float> scaled = Apply(scaler, {0, 9, -9, kNaN, 3e38f});
  EXPECT_FLOAT_EQ(scaled[0], 0);
  EXPECT_FLOAT_EQ(scaled[1], std::log(10.0f));
  EXPECT_FLOAT_EQ(scaled[2], -std::log(10.0f));
  EXPECT_FLOAT_EQ(scaled[3], std::log(37.0f)) << "the mean of 0, 9 and 99";
  std::vector<float> inverted(5);
  scaler.Invert(scaled, inverted);
  EXPECT_NEAR(inverted[1], 9, 1e-5);
  EXPECT_NEAR(inverted[2], -9, 1e-5);
  EXPECT_NEAR(inverted[4], 3e38, 1e34);
}

TEST(Scaler, InvertStaysFinite) {
  const Scaler scaler = Fit(v1::STANDARD, {"a"}, {-3e38f, 3e38f});
  std::vector<float> inverted(2);
  scaler.Invert(std::vector<float>{1e4f, -1e4f}, inverted);
  EXPECT_EQ(inverted[0], std::numeric_limits<float>::max());
  EXPECT_EQ(inverted[1], std::numeric_limits<float>::lowest());
}

TEST(Scaler, RefusesWhatItCannotFit) {
  EXPECT_THAT(Scaler::Fit(v1::STANDARD, {"a"}, {}).status().message(), HasSubstr("at least one row"));
  EXPECT_THAT(Scaler::Fit(v1::STANDARD, {"a", "b"}, std::vector<float>(3)).status().message(),
              HasSubstr("at least one row of 2 values, got 3 values"));
  EXPECT_THAT(Scaler::Fit(v1::SCALING_UNSPECIFIED, {"a"}, std::vector<float>(3)).status().message(),
              HasSubstr("features.scaling: expected STANDARD"));
}

TEST(Scaler, StateRoundTrips) {
  const Scaler scaler = Fit(v1::ROBUST, {"a", "b"}, {1, 2, 3, 4, 5, kNaN, 9, 0});
  const auto again = Scaler::FromState(scaler.state());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->state().SerializeAsString(), scaler.state().SerializeAsString());
  const std::vector<float> rows = {1.5f, kNaN, -7, 100};
  EXPECT_EQ(Apply(*again, rows), Apply(scaler, rows));
}

TEST(Scaler, RefusesABadState) {
  const v1::ScalerState good = Fit(v1::STANDARD, {"a", "b"}, {1, 2, 3, 4}).state();
  constexpr double kInf = std::numeric_limits<double>::infinity();
  const std::vector<std::pair<std::function<void(v1::ScalerState&)>, std::string>> cases = {
      {[](v1::ScalerState& s) { s.set_scaling(v1::SCALING_UNSPECIFIED); }, "scaling"},
      {[](v1::ScalerState& s) { s.set_scaling(static_cast<v1::Scaling>(77)); }, "scaling"},
      {[](v1::ScalerState& s) { s.Clear(), s.set_scaling(v1::STANDARD); }, "expected 1 to 65536 columns, got 0"},
      {[](v1::ScalerState& s) { s.add_scale(1); }, "3 scales"},
      {[](v1::ScalerState& s) { s.clear_fill(); }, "0 fills"},
      {[](v1::ScalerState& s) { s.mutable_profile()->RemoveLast(); }, "1 profiles"},
      {[](v1::ScalerState& s) { s.set_offset(1, kInf); }, "offset 1: expected a finite number, got inf"},
      {[](v1::ScalerState& s) { s.set_scale(0, 0); }, "scale 0: expected a finite number above 0, got 0"},
      {[](v1::ScalerState& s) { s.set_scale(0, -1); }, "scale 0"},
      {[](v1::ScalerState& s) { s.set_scale(1, std::nan("")); }, "scale 1"},
      {[](v1::ScalerState& s) { s.set_fill(0, 1e5); }, "fill 0"},
      {[](v1::ScalerState& s) { s.set_fill(0, std::nan("")); }, "fill 0"},
      {[](v1::ScalerState& s) { s.mutable_profile(1)->set_mean(kInf); }, "profile 1: expected finite"},
      {[](v1::ScalerState& s) { s.mutable_profile(1)->set_min(100); }, "profile 1: expected min <= max"},
      {[](v1::ScalerState& s) { s.mutable_profile(1)->clear_shares(); }, "one share more, got "},
      {[](v1::ScalerState& s) {
         s.mutable_profile(1)->mutable_deciles()->Resize(11, 0);
         s.mutable_profile(1)->mutable_shares()->Resize(12, 0);
       },
       "profile 1: expected at most 10 deciles and one share more, got 11 and 12"},
      {[](v1::ScalerState& s) { s.mutable_profile(1)->set_deciles(1, -1e30); },
       "profile 1: decile 1: expected ascending numbers within float32, got -1e+30"},
      {[](v1::ScalerState& s) { s.mutable_profile(1)->set_deciles(0, kInf); },
       "profile 1: decile 0: expected ascending"},
      {[](v1::ScalerState& s) { s.mutable_profile(1)->set_shares(0, -0.5); }, "shares: expected numbers from 0 to 1"},
      {[](v1::ScalerState& s) { s.mutable_profile(1)->set_shares(0, 1); }, "shares: expected a sum of 1, got "},
  };
  for (const auto& [damage, message] : cases) {
    v1::ScalerState state = good;
    damage(state);
    const auto scaler = Scaler::FromState(state);
    EXPECT_EQ(scaler.status().code(), absl::StatusCode::kInvalidArgument) << message;
    EXPECT_THAT(std::string(scaler.status().message()), HasSubstr(message));
  }
}

}  // namespace
}  // namespace astray
