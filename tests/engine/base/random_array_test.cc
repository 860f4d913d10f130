#include "engine/base/random_array.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace astray {
namespace {

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// A few chunks, the last of them of an odd length.
std::vector<float> Sum(uint64_t key, size_t size) {
  std::vector<float> all(size, 0.25f);
  const RandomArray array(key);
  for (size_t chunk = 0; chunk < RandomArray::Chunks(size); ++chunk) {
    const size_t begin = chunk * RandomArray::kChunk;
    array.AddNormal(chunk, 0.3f, std::span(all).subspan(begin, std::min(RandomArray::kChunk, size - begin)));
  }
  std::vector<float> uniform(777);
  array.FillUniform(5, uniform);
  all.insert(all.end(), uniform.begin(), uniform.end());
  return all;
}

TEST(RandomArray, EveryKindOfVectorGivesTheSameBits) {
  const std::vector<float> best = Sum(11, 3 * RandomArray::kChunk + 77);
  int kinds = 0;
  for (int64_t left = hwy::SupportedTargets(); left != 0; left &= left - 1) {
    hwy::SetSupportedTargetsForTest(left & -left);
    EXPECT_TRUE(SameBits(Sum(11, 3 * RandomArray::kChunk + 77), best)) << hwy::TargetName(left & -left);
    ++kinds;
  }
  hwy::SetSupportedTargetsForTest(0);
  EXPECT_GT(kinds, 1) << "the case does not show what it is for";
}

TEST(RandomArray, AChunkIsThePartOfALongerOne) {
  const RandomArray array(3);
  std::vector<float> whole(RandomArray::kChunk), part(100);
  array.FillNormal(2, whole);
  array.FillNormal(2, part);
  EXPECT_TRUE(SameBits(part, {whole.begin(), whole.begin() + 100}));
}

TEST(RandomArray, AddsScaledNormals) {
  std::vector<float> normals(1000), sums(1000, 2.0f);
  RandomArray(8).FillNormal(1, normals);
  RandomArray(8).AddNormal(1, 0.5f, sums);
  for (size_t i = 0; i < sums.size(); ++i) ASSERT_EQ(sums[i], 2.0f + 0.5f * normals[i]);
}

// As often beyond k sigma as the normal law says, within four standard deviations of the count.
TEST(RandomArray, TailsAreThoseOfTheNormalLaw) {
  constexpr size_t kChunks = 2500;
  std::vector<float> sample(RandomArray::kChunk);
  std::vector<double> above(5), below(5);
  double sum = 0, squares = 0;
  for (size_t chunk = 0; chunk < kChunks; ++chunk) {
    RandomArray(77).FillNormal(chunk, sample);
    for (const float x : sample) {
      sum += x;
      squares += double{x} * x;
      for (int k = 1; k < 5; ++k) {
        above[k] += x > static_cast<float>(k) ? 1 : 0;
        below[k] += x < -static_cast<float>(k) ? 1 : 0;
      }
    }
  }
  const double n = static_cast<double>(kChunks * sample.size());
  EXPECT_NEAR(sum / n, 0, 4 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1, 4 * std::sqrt(2 / n));
  for (int k = 1; k < 5; ++k) {
    const double expected = n * 0.5 * std::erfc(k / std::sqrt(2.0));
    EXPECT_NEAR(above[k], expected, 4 * std::sqrt(expected)) << k;
    EXPECT_NEAR(below[k], expected, 4 * std::sqrt(expected)) << k;
  }
}

// Values of neighbouring generators, blocks and chunks, and of neighbouring keys, have nothing in common.
TEST(RandomArray, ValuesApartAreUncorrelated) {
  constexpr size_t kChunks = 64;
  const size_t size = kChunks * RandomArray::kChunk;
  std::vector<float> a(size), b(size);
  for (size_t chunk = 0; chunk < kChunks; ++chunk) {
    RandomArray(1).FillNormal(chunk, std::span(a).subspan(chunk * RandomArray::kChunk, RandomArray::kChunk));
    RandomArray(2).FillNormal(chunk, std::span(b).subspan(chunk * RandomArray::kChunk, RandomArray::kChunk));
  }
  const auto correlation = [&](const std::vector<float>& x, const std::vector<float>& y, size_t lag) {
    double products = 0, squares = 0;
    for (size_t i = 0; i + lag < size; ++i) {
      products += double{x[i]} * y[i + lag];
      squares += (double{x[i]} * x[i] - 1) * (double{y[i + lag]} * y[i + lag] - 1) / 2;
    }
    return std::max(std::abs(products), std::abs(squares)) / static_cast<double>(size);
  };
  const double limit = 4.5 / std::sqrt(static_cast<double>(size));
  EXPECT_LT(correlation(a, b, 0), limit);
  for (const size_t lag : {1, 7, 8, 15, 16, 17, 32, 64, 4095, 4096, 4097})
    EXPECT_LT(correlation(a, a, lag), limit) << lag;
}

}  // namespace
}  // namespace astray
