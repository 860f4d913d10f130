#include "engine/train/corruption.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace astray {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

v1::Recipe Parse(const std::string& text) {
  v1::Recipe recipe;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &recipe)) << text;
  return recipe;
}

Corruptor MakeCorruptor(const std::string& text, size_t width, uint64_t seed = 1) {
  auto corruptor = Corruptor::Create(Parse(text).corruption(), width, Random(seed));
  EXPECT_TRUE(corruptor.ok()) << corruptor.status();
  return *std::move(corruptor);
}

std::string Refusal(const std::string& text) {
  return std::string(CheckCorruption(Parse(text).corruption()).message());
}

double Mean(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

double StandardDeviation(const std::vector<float>& values) {
  const double mean = Mean(values);
  double sum = 0;
  for (const float value : values) sum += (value - mean) * (value - mean);
  return std::sqrt(sum / static_cast<double>(values.size()));
}

constexpr size_t kVectors = 20'000, kWidth = 10;

TEST(Corruptor, GaussianNoiseHasItsMeanAndDeviation) {
  std::vector<float> values(kVectors * kWidth, 3.0f);
  MakeCorruptor("corruption { gaussian { sigma: 0.5 } }", kWidth).Apply(values);
  // Five standard errors of 200,000 draws.
  EXPECT_NEAR(Mean(values), 3.0, 5 * 0.5 / std::sqrt(2e5));
  EXPECT_NEAR(StandardDeviation(values), 0.5, 5 * 0.5 / std::sqrt(4e5));
}

TEST(Corruptor, ALevelIsDrawnForEachRowUniformly) {
  std::vector<float> values(kVectors * 100);
  MakeCorruptor("corruption { gaussian { max_sigma: 2 } }", 100).Apply(values);
  std::vector<float> levels;
  for (size_t i = 0; i < kVectors; ++i) {
    levels.push_back(
        static_cast<float>(StandardDeviation({values.begin() + static_cast<std::ptrdiff_t>(i * 100),
                                              values.begin() + static_cast<std::ptrdiff_t>(i * 100 + 100)})));
  }
  // U(0, 2): mean 1, deviation 2/sqrt(12), quartiles 0.5 and 1.5. A level for all rows would have no spread.
  EXPECT_NEAR(Mean(levels), 1.0, 0.02);
  EXPECT_NEAR(StandardDeviation(levels), 2 / std::sqrt(12.0), 0.02);
  std::sort(levels.begin(), levels.end());
  EXPECT_NEAR(levels[kVectors / 4], 0.5, 0.03);
  EXPECT_NEAR(levels[kVectors * 3 / 4], 1.5, 0.03);
}

TEST(Corruptor, ClippedGaussianNoiseStaysInRangeAndPilesUpAtItsEnds) {
  std::vector<float> values(kVectors * kWidth, 0.5f);
  MakeCorruptor("corruption { clipped_gaussian { sigma: 0.5 } }", kWidth).Apply(values);
  EXPECT_GE(*std::min_element(values.begin(), values.end()), 0.0f);
  EXPECT_LE(*std::max_element(values.begin(), values.end()), 1.0f);
  // Beyond one deviation on either side: 15.87 % each.
  const double count = static_cast<double>(values.size());
  EXPECT_NEAR(static_cast<double>(std::count(values.begin(), values.end(), 0.0f)) / count, 0.1587, 0.005);
  EXPECT_NEAR(static_cast<double>(std::count(values.begin(), values.end(), 1.0f)) / count, 0.1587, 0.005);

  std::vector<float> others(100, 0.0f);
  MakeCorruptor("corruption { clipped_gaussian { sigma: 9 low: -2 high: -1 } }", 10).Apply(others);
  EXPECT_THAT(others, Each(testing::AllOf(testing::Ge(-2.0f), testing::Le(-1.0f))));
}

TEST(Corruptor, MaskingReplacesItsShareAndKeepsTheRest) {
  std::vector<float> values(kVectors * kWidth, 3.0f);
  MakeCorruptor("corruption { masking { keep_probability: 0.7 fill: -1 } }", kWidth).Apply(values);
  EXPECT_THAT(values, Each(testing::AnyOf(3.0f, -1.0f)));
  EXPECT_NEAR(static_cast<double>(std::count(values.begin(), values.end(), -1.0f)) / 2e5, 0.3, 0.005);
  // Each value by itself: a whole row is spared with 0.7^10.
  size_t spared = 0;
  for (auto row = values.begin(); row != values.end(); row += kWidth) {
    spared += std::count(row, row + kWidth, 3.0f) == kWidth;
  }
  EXPECT_NEAR(static_cast<double>(spared) / kVectors, std::pow(0.7, 10), 0.006);
}

TEST(Corruptor, AppliesItsListInOrder) {
  std::vector<float> values(1000, 5.0f);
  MakeCorruptor("corruption { gaussian { sigma: 1 } } corruption { masking { keep_probability: 0.5 } }", 10)
      .Apply(values);
  EXPECT_NEAR(static_cast<double>(std::count(values.begin(), values.end(), 0.0f)), 500, 100)
      << "masked after the noise: exactly the fill";
}

TEST(Corruptor, DrawsAfreshEachTimeAndRepeatsWithItsSeed) {
  const std::string text = "corruption { gaussian { max_sigma: 1 } } corruption { masking { keep_probability: 0.5 } }";
  Corruptor a = MakeCorruptor(text, 10), b = MakeCorruptor(text, 10), c = MakeCorruptor(text, 10, 2);
  std::vector<float> first(100, 1.0f), second(100, 1.0f), again(100, 1.0f), other(100, 1.0f);
  a.Apply(first);
  a.Apply(second);
  b.Apply(again);
  c.Apply(other);
  EXPECT_NE(first, second);
  EXPECT_EQ(first, again);
  EXPECT_NE(first, other);
}

TEST(Corruptor, RefusesWhatCannotBe) {
  EXPECT_EQ(Refusal("corruption { gaussian { sigma: 1 } } corruption {}"),
            "corruption[1]: expected gaussian, clipped_gaussian or masking, got none");
  EXPECT_THAT(Refusal("corruption { gaussian {} }"), HasSubstr("expected one of sigma and max_sigma, got neither"));
  EXPECT_THAT(Refusal("corruption { gaussian { sigma: 1 max_sigma: 1 } }"), HasSubstr("got both"));
  EXPECT_THAT(Refusal("corruption { gaussian { sigma: -1 } }"),
              HasSubstr("corruption[0].gaussian.sigma: expected a number above 0, got -1"));
  EXPECT_THAT(Refusal("corruption { gaussian { max_sigma: inf } }"), HasSubstr("gaussian.max_sigma"));
  EXPECT_THAT(Refusal("corruption { clipped_gaussian { sigma: 1 low: 2 } }"),
              HasSubstr("expected a number above low (2)"));
  EXPECT_THAT(Refusal("corruption { masking { keep_probability: 1.5 } }"), HasSubstr("expected (0, 1], got 1.5"));
  EXPECT_THAT(Refusal("corruption { masking {} }"), HasSubstr("keep_probability: expected (0, 1], got 0"));
  EXPECT_THAT(Refusal("corruption { masking { keep_probability: 0.5 fill: nan } }"), HasSubstr("masking.fill"));
}

}  // namespace
}  // namespace astray
