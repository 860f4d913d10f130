#include "engine/detect/quantile_sketch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "engine/base/random.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

constexpr size_t kSize = 500;

std::vector<float> Numbers(size_t n, uint64_t seed) {
  Random random(seed);
  std::vector<float> numbers(n);
  random.FillNormal(numbers);
  for (float& number : numbers) number *= number;
  return numbers;
}

QuantileSketch SketchOf(const std::vector<float>& numbers) {
  QuantileSketch sketch(kSize);
  for (const float number : numbers) sketch.Add(number);
  return sketch;
}

// The largest difference between a number's rank in the sketch and in truth.
double LargestError(const QuantileSketch& sketch, std::vector<float> numbers) {
  std::sort(numbers.begin(), numbers.end());
  double largest = 0;
  uint64_t before = 0;
  for (const auto& [value, weight] : sketch.Weighted()) {
    const auto rank = std::lower_bound(numbers.begin(), numbers.end(), value) - numbers.begin();
    largest = std::max(largest, std::abs(static_cast<double>(rank) - static_cast<double>(before)));
    before += weight;
  }
  return largest;
}

TEST(QuantileSketch, KeepsEverythingWhileThereIsRoom) {
  const std::vector<float> numbers = Numbers(kSize - 1, 1);
  const QuantileSketch sketch = SketchOf(numbers);
  EXPECT_EQ(sketch.rank_error(), 0);
  EXPECT_EQ(sketch.Weighted().size(), numbers.size());
  EXPECT_EQ(LargestError(sketch, numbers), 0);
}

TEST(QuantileSketch, RanksAreOffByLessThanItSays) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    std::vector<float> numbers = Numbers(200'000, seed);
    // The order in which they come must not matter: as they are, ascending, descending.
    if (seed % 3 == 1) std::sort(numbers.begin(), numbers.end());
    if (seed % 3 == 2) std::sort(numbers.begin(), numbers.end(), std::greater<>());
    const QuantileSketch sketch = SketchOf(numbers);
    EXPECT_EQ(sketch.samples(), numbers.size());
    EXPECT_LT(sketch.Weighted().size(), 4 * kSize);
    EXPECT_LT(sketch.rank_error() / 200'000, 12.0 / kSize);
    // Of all ranks at once, where the statement is about any one of them.
    const double error = LargestError(sketch, numbers);
    EXPECT_LT(error, sketch.rank_error()) << seed;
    EXPECT_GT(error, sketch.rank_error() / 100) << "a bound that says nothing";
  }
}

TEST(QuantileSketch, MergedItSaysTheSameOfAll) {
  std::vector<float> all;
  QuantileSketch merged(kSize);
  for (uint64_t seed = 1; seed <= 9; ++seed) {
    const std::vector<float> part = Numbers(seed * 7'001, seed);
    merged.Merge(SketchOf(part));
    all.insert(all.end(), part.begin(), part.end());
  }
  EXPECT_EQ(merged.samples(), all.size());
  EXPECT_LT(merged.Weighted().size(), 4 * kSize);
  EXPECT_LT(LargestError(merged, all), merged.rank_error());
}

TEST(QuantileSketch, TheSameNumbersGiveTheSameBytesAndGoOnFromAState) {
  const std::vector<float> numbers = Numbers(100'000, 3);
  const QuantileSketch whole = SketchOf(numbers);
  EXPECT_EQ(whole.ToState().SerializeAsString(), SketchOf(numbers).ToState().SerializeAsString());
  QuantileSketch half = SketchOf({numbers.begin(), numbers.begin() + 40'000});
  auto again = QuantileSketch::FromState(half.ToState(), kSize);
  ASSERT_TRUE(again.ok()) << again.status();
  for (size_t i = 40'000; i < numbers.size(); ++i) again->Add(numbers[i]);
  EXPECT_EQ(again->ToState().SerializeAsString(), whole.ToState().SerializeAsString());
  EXPECT_EQ(again->rank_error(), whole.rank_error());
}

TEST(QuantileSketch, RefusesWhatIsNoSketch) {
  const v1::SketchState good = SketchOf(Numbers(100'000, 3)).ToState();
  const std::vector<std::pair<std::function<void(v1::SketchState&)>, std::string>> cases = {
      {[](v1::SketchState& s) {
         while (s.levels_size() < 41) s.add_levels();
       },
       "expected at most 40 levels, got 41"},
      {[](v1::SketchState& s) { s.mutable_levels(2)->add_values(-1); }, "level 2: expected finite numbers"},
      {[](v1::SketchState& s) { s.mutable_levels(0)->add_values(HUGE_VALF); }, "level 0: expected finite numbers"},
      {[](v1::SketchState& s) { s.mutable_levels(1)->add_values(std::nanf("")); }, "level 1: expected finite numbers"},
      {[](v1::SketchState& s) { s.set_squared_weights(0); }, "squared_weights: expected"},
      {[](v1::SketchState& s) { s.set_squared_weights(std::nan("")); }, "squared_weights: expected"},
      {[](v1::SketchState& s) {
         while (s.levels_size() < 39) s.add_levels();
         for (int i = 0; i < 9; ++i) s.mutable_levels(38)->add_values(1);
       },
       "got more"},
  };
  for (const auto& [damage, message] : cases) {
    v1::SketchState state = good;
    damage(state);
    const auto sketch = QuantileSketch::FromState(state, kSize);
    EXPECT_EQ(sketch.status().code(), absl::StatusCode::kInvalidArgument) << message;
    EXPECT_THAT(std::string(sketch.status().message()), HasSubstr(message));
  }
}

}  // namespace
}  // namespace astray
