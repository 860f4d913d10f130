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

Corruptor MakeCorruptor(const std::string& text, VectorShape shape, uint64_t seed = 1) {
  auto corruptor = Corruptor::Create(Parse(text).corruption(), shape, Random(seed));
  EXPECT_TRUE(corruptor.ok()) << corruptor.status();
  return *std::move(corruptor);
}

std::string Refusal(const std::string& text, VectorShape shape = {4, 3}) {
  return std::string(CheckCorruption(Parse(text).corruption(), shape).message());
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
  MakeCorruptor("corruption { gaussian { sigma: 0.5 } }", {1, kWidth}).Apply(values);
  // Five standard errors of 200,000 draws.
  EXPECT_NEAR(Mean(values), 3.0, 5 * 0.5 / std::sqrt(2e5));
  EXPECT_NEAR(StandardDeviation(values), 0.5, 5 * 0.5 / std::sqrt(4e5));
}

TEST(Corruptor, ALevelIsDrawnForEachRowUniformly) {
  std::vector<float> values(kVectors * 100);
  MakeCorruptor("corruption { gaussian { max_sigma: 2 } }", {1, 100}).Apply(values);
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
  MakeCorruptor("corruption { clipped_gaussian { sigma: 0.5 } }", {1, kWidth}).Apply(values);
  EXPECT_GE(*std::min_element(values.begin(), values.end()), 0.0f);
  EXPECT_LE(*std::max_element(values.begin(), values.end()), 1.0f);
  // Beyond one deviation on either side: 15.87 % each.
  const double count = static_cast<double>(values.size());
  EXPECT_NEAR(static_cast<double>(std::count(values.begin(), values.end(), 0.0f)) / count, 0.1587, 0.005);
  EXPECT_NEAR(static_cast<double>(std::count(values.begin(), values.end(), 1.0f)) / count, 0.1587, 0.005);

  std::vector<float> others(100, 0.0f);
  MakeCorruptor("corruption { clipped_gaussian { sigma: 9 low: -2 high: -1 } }", {1, 10}).Apply(others);
  EXPECT_THAT(others, Each(testing::AllOf(testing::Ge(-2.0f), testing::Le(-1.0f))));
}

TEST(Corruptor, MaskingReplacesItsShareAndKeepsTheRest) {
  std::vector<float> values(kVectors * kWidth, 3.0f);
  MakeCorruptor("corruption { masking { keep_probability: 0.7 fill: -1 } }", {1, kWidth}).Apply(values);
  EXPECT_THAT(values, Each(testing::AnyOf(3.0f, -1.0f)));
  EXPECT_NEAR(static_cast<double>(std::count(values.begin(), values.end(), -1.0f)) / 2e5, 0.3, 0.005);
  // Each value by itself: a whole row is spared with 0.7^10.
  size_t spared = 0;
  for (auto row = values.begin(); row != values.end(); row += kWidth) {
    spared += std::count(row, row + kWidth, 3.0f) == kWidth;
  }
  EXPECT_NEAR(static_cast<double>(spared) / kVectors, std::pow(0.7, 10), 0.006);
}

TEST(Corruptor, SaltAndPepperAreEquallyLikely) {
  std::vector<float> values(kVectors * kWidth, 0.5f);
  MakeCorruptor("corruption { salt_and_pepper { probability: 0.3 low: -3 high: 3 } }", {1, kWidth}).Apply(values);
  EXPECT_THAT(values, Each(testing::AnyOf(0.5f, -3.0f, 3.0f)));
  EXPECT_NEAR(static_cast<double>(std::count(values.begin(), values.end(), -3.0f)) / 2e5, 0.15, 0.004);
  EXPECT_NEAR(static_cast<double>(std::count(values.begin(), values.end(), 3.0f)) / 2e5, 0.15, 0.004);
}

TEST(Corruptor, APatchIsARectangleAtAnyPlace) {
  constexpr size_t kRows = 5, kFeatures = 4;
  std::vector<float> values(kVectors * kRows * kFeatures, 1.0f);
  MakeCorruptor("corruption { patch_removal { rows: 2 features: 3 fill: -1 } }", {kRows, kFeatures}).Apply(values);
  std::vector<int> places(kRows * kFeatures);
  for (size_t vector = 0; vector < kVectors; ++vector) {
    const float* v = values.data() + vector * kRows * kFeatures;
    const size_t first = static_cast<size_t>(std::find(v, v + kRows * kFeatures, -1.0f) - v);
    ASSERT_LT(first, kRows * kFeatures);
    ++places[first];
    for (size_t row = 0; row < kRows; ++row) {
      for (size_t feature = 0; feature < kFeatures; ++feature) {
        const bool inside = row >= first / kFeatures && row < first / kFeatures + 2 && feature >= first % kFeatures &&
                            feature < first % kFeatures + 3;
        ASSERT_EQ(v[row * kFeatures + feature], inside ? -1.0f : 1.0f) << vector;
      }
    }
  }
  // Four places down times two across, each as likely.
  for (size_t row = 0; row < 4; ++row) {
    for (size_t feature = 0; feature < 2; ++feature) {
      EXPECT_NEAR(places[row * kFeatures + feature], kVectors / 8.0, 5 * std::sqrt(kVectors / 8.0));
    }
  }
  std::vector<float> gap(kRows * kFeatures, 1.0f);
  MakeCorruptor("corruption { patch_removal { rows: 1 } }", {kRows, kFeatures}).Apply(gap);
  EXPECT_EQ(std::count(gap.begin(), gap.end(), 0.0f), 4) << "features: 0 is all of them";
}

TEST(Corruptor, LocalShuffleMovesWholeRowsWithinTheirRun) {
  constexpr size_t kRows = 7, kFeatures = 2;
  std::vector<float> values, clean;
  for (size_t vector = 0; vector < kVectors; ++vector) {
    for (size_t row = 0; row < kRows; ++row) {
      values.push_back(static_cast<float>(row));
      values.push_back(static_cast<float>(10 + row));
    }
  }
  clean = values;
  MakeCorruptor("corruption { local_shuffle { rows: 3 } }", {kRows, kFeatures}).Apply(values);
  size_t stayed = 0;
  for (size_t i = 0; i < values.size(); i += 2) {
    ASSERT_EQ(values[i + 1], 10 + values[i]) << "a row stays whole";
    ASSERT_EQ(static_cast<int>(values[i]) / 3, static_cast<int>(clean[i]) / 3) << "runs are 0-2, 3-5, 6";
    stayed += values[i] == clean[i];
  }
  for (size_t i = 0; i < values.size(); i += kRows * kFeatures) {
    ASSERT_EQ(values[i] + values[i + 2] + values[i + 4], 3.0f) << "a permutation, nothing twice";
  }
  // Each of six rows stays with probability 1/3, the last always.
  EXPECT_NEAR(static_cast<double>(stayed) / static_cast<double>(kVectors * kRows), (6.0 / 3 + 1) / 7, 0.005);

  values = clean;
  MakeCorruptor("corruption { local_shuffle { rows: 7 probability: 0.25 } }", {kRows, kFeatures}).Apply(values);
  size_t changed = 0;
  for (size_t i = 0; i < values.size(); i += kRows * kFeatures) {
    changed += !std::equal(values.begin() + static_cast<std::ptrdiff_t>(i),
                           values.begin() + static_cast<std::ptrdiff_t>(i + kRows * kFeatures),
                           clean.begin() + static_cast<std::ptrdiff_t>(i));
  }
  EXPECT_NEAR(static_cast<double>(changed) / kVectors, 0.25, 0.02);
}

TEST(Corruptor, BitFlipTurnsZeroAndOneAround) {
  std::vector<float> values(kVectors * kWidth);
  for (size_t i = 0; i < values.size(); ++i) values[i] = i % 2 == 0 ? 0.0f : 1.0f;
  MakeCorruptor("corruption { bit_flip { probability: 0.1 } }", {1, kWidth}).Apply(values);
  size_t flipped = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_TRUE(values[i] == 0.0f || values[i] == 1.0f);
    flipped += values[i] != (i % 2 == 0 ? 0.0f : 1.0f);
  }
  EXPECT_NEAR(static_cast<double>(flipped) / 2e5, 0.1, 0.004);
}

TEST(Corruptor, FeatureSwapTakesTheSameFeatureOfAnotherRow) {
  std::vector<float> values;
  for (size_t vector = 0; vector < kVectors; ++vector) {
    for (size_t j = 0; j < kWidth; ++j) values.push_back(static_cast<float>(vector * kWidth + j));
  }
  const std::vector<float> clean = values;
  MakeCorruptor("corruption { feature_swap { probability: 0.2 } }", {1, kWidth}).Apply(values);
  size_t swapped = 0;
  double donors = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(static_cast<size_t>(values[i]) % kWidth, i % kWidth) << "never another feature's value";
    if (values[i] == clean[i]) continue;
    ++swapped;
    donors += values[i];
  }
  EXPECT_NEAR(static_cast<double>(swapped) / 2e5, 0.2, 0.005);
  EXPECT_NEAR(donors / static_cast<double>(swapped) / 2e5, 0.5, 0.01) << "from anywhere in the batch";
}

// A sequence of tokens 1, 2, ... of three values each.
constexpr VectorShape kSequence = {.rows = 40, .features = 3};

std::vector<float> Sequences(size_t count) {
  std::vector<float> values;
  for (size_t i = 0; i < count; ++i) {
    for (size_t t = 1; t <= kSequence.rows; ++t) values.insert(values.end(), kSequence.features, static_cast<float>(t));
  }
  return values;
}

// The tokens of each sequence; a token's values must be alike.
std::vector<std::vector<int>> TokensOf(const std::vector<float>& values) {
  std::vector<std::vector<int>> sequences;
  for (size_t begin = 0; begin < values.size(); begin += kSequence.width()) {
    sequences.emplace_back();
    for (size_t t = begin; t < begin + kSequence.width(); t += kSequence.features) {
      EXPECT_TRUE(values[t] == values[t + 1] && values[t] == values[t + 2]) << "a token is whole";
      sequences.back().push_back(static_cast<int>(values[t]));
    }
  }
  return sequences;
}

TEST(Corruptor, TokenMaskHidesWholeTokensWhereTheyAre) {
  std::vector<float> values = Sequences(2000);
  MakeCorruptor("corruption { token_mask { probability: 0.2 fill: -1 } }", kSequence).Apply(values);
  size_t hidden = 0;
  for (const std::vector<int>& tokens : TokensOf(values)) {
    for (size_t t = 0; t < tokens.size(); ++t) {
      if (tokens[t] == -1) {
        ++hidden;
      } else {
        EXPECT_EQ(tokens[t], static_cast<int>(t) + 1);
      }
    }
  }
  EXPECT_NEAR(static_cast<double>(hidden) / 80'000, 0.2, 5 * std::sqrt(0.16 / 80'000));
}

TEST(Corruptor, TokenDeletionMovesTheRestUpInOrder) {
  std::vector<float> values = Sequences(2000);
  MakeCorruptor("corruption { token_deletion { probability: 0.1 fill: -1 } }", kSequence).Apply(values);
  size_t deleted = 0;
  for (const std::vector<int>& tokens : TokensOf(values)) {
    const auto end = std::ranges::find(tokens, -1);
    EXPECT_TRUE(std::is_sorted(tokens.begin(), end));
    EXPECT_TRUE(std::adjacent_find(tokens.begin(), end) == end);
    EXPECT_TRUE(std::all_of(end, tokens.end(), [](int t) { return t == -1; })) << "filled at the end alone";
    deleted += static_cast<size_t>(tokens.end() - end);
  }
  EXPECT_NEAR(static_cast<double>(deleted) / 80'000, 0.1, 5 * std::sqrt(0.09 / 80'000));
}

TEST(Corruptor, SpanPermutationKeepsEveryTokenAndMovesWholeParts) {
  std::vector<float> values = Sequences(500);
  MakeCorruptor("corruption { span_permutation { spans: 4 } }", kSequence).Apply(values);
  size_t moved = 0;
  for (const std::vector<int>& tokens : TokensOf(values)) {
    std::vector<int> sorted = tokens;
    std::ranges::sort(sorted);
    for (size_t t = 0; t < sorted.size(); ++t) EXPECT_EQ(sorted[t], static_cast<int>(t) + 1);
    size_t seams = 0;
    for (size_t t = 1; t < tokens.size(); ++t) seams += tokens[t] != tokens[t - 1] + 1;
    EXPECT_LE(seams, 3u);
    moved += seams > 0;
  }
  // One order of 24 is the one it was.
  EXPECT_NEAR(static_cast<double>(moved) / 500, 23.0 / 24, 5 * std::sqrt(1.0 / 24 / 500));
}

TEST(Corruptor, SpanMaskHidesItsShareInSpans) {
  std::vector<float> values = Sequences(2000);
  MakeCorruptor("corruption { span_mask { share: 0.3 mean_length: 4 fill: -1 } }", kSequence).Apply(values);
  size_t hidden = 0, spans = 0;
  for (const std::vector<int>& tokens : TokensOf(values)) {
    size_t here = 0;
    for (size_t t = 0; t < tokens.size(); ++t) {
      if (tokens[t] == -1) {
        ++here;
        spans += t == 0 || tokens[t - 1] != -1;
      } else {
        EXPECT_EQ(tokens[t], static_cast<int>(t) + 1);
      }
    }
    EXPECT_GE(here, 1u);
    EXPECT_LE(here, 12u) << "0.3 of 40 tokens; overlaps make it less";
    hidden += here;
  }
  EXPECT_NEAR(static_cast<double>(hidden) / static_cast<double>(spans), 4, 0.6) << "tokens in a span";
}

TEST(Corruptor, InfillingPutsOneTokenInPlaceOfASpan) {
  std::vector<float> values = Sequences(2000);
  MakeCorruptor("corruption { infilling { share: 0.3 mean_length: 3 fill: -1 } }", kSequence).Apply(values);
  double kept = 0, shorter = 0, insertions = 0;
  for (const std::vector<int>& tokens : TokensOf(values)) {
    int last = 0;
    for (size_t t = 0; t < tokens.size(); ++t) {
      if (tokens[t] == -1) continue;
      EXPECT_GT(tokens[t], last) << "the order stays";
      // Between two tokens that were neighbours there can only be an additional one.
      if (t > 0 && tokens[t - 1] == -1 && tokens[t] == last + 1) ++insertions;
      last = tokens[t];
      ++kept;
    }
    shorter += tokens.back() == -1;
  }
  EXPECT_NEAR(kept / 80'000, 0.73, 0.03) << "0.3 less the overlaps";
  EXPECT_GT(shorter, 1900) << "a span becomes one token";
  EXPECT_GT(insertions, 100) << "spans of length 0";
}

TEST(Corruptor, RefusesTokensWhereThereAreNone) {
  EXPECT_EQ(
      Refusal("corruption { token_mask { probability: 0.1 } }", {1, 8}),
      "corruption[0].token_mask: needs vectors of several tokens (features.window above 1, or features.shape), got "
      "vectors of one");
  EXPECT_THAT(Refusal("corruption { token_deletion { probability: 2 } }"),
              HasSubstr("corruption[0].token_deletion.probability: expected (0, 1], got 2"));
  EXPECT_THAT(Refusal("corruption { span_permutation { spans: 5 } }"),
              HasSubstr("corruption[0].span_permutation.spans: expected 2 to 4 (the number of tokens), got 5"));
  EXPECT_THAT(Refusal("corruption { span_mask { share: 1 } }"),
              HasSubstr("corruption[0].span_mask.share: expected a number in (0, 1), got 1"));
  EXPECT_THAT(Refusal("corruption { infilling { share: 0.5 mean_length: 0.5 } }"),
              HasSubstr("corruption[0].infilling.mean_length: expected 1 to 256, got 0.5"));
}

TEST(Corruptor, AppliesItsListInOrder) {
  std::vector<float> values(1000, 5.0f);
  MakeCorruptor("corruption { gaussian { sigma: 1 } } corruption { masking { keep_probability: 0.5 } }", {1, 10})
      .Apply(values);
  EXPECT_NEAR(static_cast<double>(std::count(values.begin(), values.end(), 0.0f)), 500, 100)
      << "masked after the noise: exactly the fill";
}

TEST(Corruptor, DrawsAfreshEachTimeAndRepeatsWithItsSeed) {
  const std::string text = "corruption { gaussian { max_sigma: 1 } } corruption { masking { keep_probability: 0.5 } }";
  Corruptor a = MakeCorruptor(text, {1, 10}), b = MakeCorruptor(text, {1, 10}), c = MakeCorruptor(text, {1, 10}, 2);
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
            "corruption[1]: expected one kind of corruption, such as gaussian or masking, got none");
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
  EXPECT_THAT(Refusal("corruption { salt_and_pepper { probability: 2 } }"), HasSubstr("expected (0, 1], got 2"));
  EXPECT_THAT(Refusal("corruption { salt_and_pepper { probability: 0.1 low: 1 high: 1 } }"),
              HasSubstr("salt_and_pepper.high: expected a number above low (1), got 1"));
  EXPECT_THAT(Refusal("corruption { patch_removal { rows: 5 } }"),
              HasSubstr("patch_removal.rows: expected 0 to 4 (features.window), got 5"));
  EXPECT_THAT(Refusal("corruption { patch_removal { features: 4 } }"), HasSubstr("expected 0 to 3"));
  EXPECT_THAT(Refusal("corruption { patch_removal { rows: 4 } }"), HasSubstr("expected a part of 4 rows x 3 features"));
  EXPECT_THAT(Refusal("corruption { patch_removal {} }"), HasSubstr("got all of it"));
  EXPECT_THAT(Refusal("corruption { local_shuffle { rows: 5 } }"),
              HasSubstr("expected 2 to 4 (features.window), got 5"));
  EXPECT_THAT(Refusal("corruption { local_shuffle { rows: 2 } }", {1, 3}),
              HasSubstr("local_shuffle.rows: expected features.window of at least 2, got 1"));
  EXPECT_THAT(Refusal("corruption { local_shuffle { rows: 2 probability: -1 } }"), HasSubstr("expected (0, 1]"));
  EXPECT_THAT(Refusal("corruption { bit_flip {} }"), HasSubstr("bit_flip.probability"));
  EXPECT_THAT(Refusal("corruption { feature_swap {} }"), HasSubstr("feature_swap.probability"));
}

}  // namespace
}  // namespace astray
