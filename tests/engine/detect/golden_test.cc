#include "engine/detect/golden.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "tests/engine/detect/small_detector.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

v1::Golden Make(const Detector& detector, const std::vector<float>& rows) {
  auto golden = MakeGolden(detector, rows);
  EXPECT_TRUE(golden.ok()) << golden.status();
  return *golden;
}

TEST(Golden, ReplaysItself) {
  const auto detector = MakeSmallDetector();
  std::vector<float> rows = SmallRows(8, 2);
  for (size_t i = 6; i < 15; ++i)
    rows[i] = std::numeric_limits<float>::quiet_NaN();  // one vector with nothing observed
  const v1::Golden golden = Make(*detector, rows);
  EXPECT_EQ(golden.rows(), 8u);
  ASSERT_EQ(golden.errors_size(), 6);
  EXPECT_TRUE(std::isnan(golden.errors(2)));
  EXPECT_TRUE(ReplayGolden(*detector, golden).ok()) << ReplayGolden(*detector, golden);
}

TEST(Golden, EveryNaNGivesTheSameBytes) {
  const auto detector = MakeSmallDetector();
  std::vector<float> rows = SmallRows(8, 2);
  rows[4] = std::nanf("");
  const std::string bytes = Make(*detector, rows).SerializeAsString();
  rows[4] = -std::nanf("7");
  EXPECT_EQ(Make(*detector, rows).SerializeAsString(), bytes);
}

TEST(Golden, NeedsAWindowOfRows) {
  const auto detector = MakeSmallDetector({.window = 3});
  EXPECT_EQ(MakeGolden(*detector, SmallRows(2, 2)).status(),
            absl::InvalidArgumentError("golden rows: expected at least 3 (the window), got 2"));
}

TEST(Golden, AnotherNetworkDoesNotReproduceIt) {
  const v1::Golden golden = Make(*MakeSmallDetector({.seed = 1}), SmallRows(8, 2));
  const absl::Status status = ReplayGolden(*MakeSmallDetector({.seed = 2}), golden);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("does not reproduce the detector"));
}

TEST(Golden, ToleratesAnotherKindOfMachineAndNoMore) {
  const auto detector = MakeSmallDetector();
  const v1::Golden golden = Make(*detector, SmallRows(8, 2));
  for (const auto& [factor, reproduces] :
       {std::pair{1 + 5e-5, true}, std::pair{1 - 5e-5, true}, std::pair{1 + 1e-2, false}, std::pair{1 - 1e-2, false}}) {
    v1::Golden other = golden;
    for (float& error : *other.mutable_errors()) error = static_cast<float>(error * factor);
    EXPECT_EQ(ReplayGolden(*detector, other).ok(), reproduces) << factor;
  }
}

TEST(Golden, RefusesWhatDoesNotFit) {
  const auto detector = MakeSmallDetector();
  const v1::Golden good = Make(*detector, SmallRows(8, 2));
  const std::vector<std::pair<std::function<void(v1::Golden&)>, std::string>> cases = {
      {[](v1::Golden& g) { g.set_features(4); }, "features: expected 3, got 4"},
      {[](v1::Golden& g) { g.set_rows(4000000000u); }, "values: expected 4000000000 rows x 3 features, got 24"},
      {[](v1::Golden& g) { g.mutable_values()->RemoveLast(); }, "values: expected 8 rows x 3 features, got 23"},
      {[](v1::Golden& g) { g.add_errors(0); }, "errors: expected one for each"},
      {[](v1::Golden& g) { g.set_rows(2), g.mutable_values()->Truncate(6), g.clear_errors(); }, "errors: expected one"},
      {[](v1::Golden& g) { g.set_values(4, HUGE_VALF); }, "row 1, feature 'pressure'"},
      {[](v1::Golden& g) { g.set_errors(3, std::nanf("")); }, "vector 3: expected error nan"},
      {[](v1::Golden& g) { g.set_errors(3, HUGE_VALF); }, "vector 3: expected error inf"},
      {[](v1::Golden& g) { g.set_values(0, std::nanf("")); }, "vector 0"},
  };
  for (const auto& [damage, message] : cases) {
    v1::Golden golden = good;
    damage(golden);
    const absl::Status status = ReplayGolden(*detector, golden);
    EXPECT_FALSE(status.ok()) << message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
}

}  // namespace
}  // namespace astray
