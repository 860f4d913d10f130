#include "engine/base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

namespace astray {
namespace {

// Largest distance between the sample's distribution and `cdf`, times √n: above 1.95 with probability 0.001
// (Kolmogorov).
template <typename Cdf>
double KolmogorovSmirnov(std::vector<float> sample, Cdf cdf) {
  std::sort(sample.begin(), sample.end());
  double distance = 0;
  const double n = static_cast<double>(sample.size());
  for (size_t i = 0; i < sample.size(); ++i) {
    const double p = cdf(sample[i]);
    distance = std::max({distance, p - static_cast<double>(i) / n, static_cast<double>(i + 1) / n - p});
  }
  return distance * std::sqrt(n);
}

TEST(Random, NormalsFollowTheNormalDistribution) {
  for (uint64_t seed : {1, 2, 3}) {
    std::vector<float> sample(100001);
    Random(seed).FillNormal(sample);
    EXPECT_LT(KolmogorovSmirnov(sample, [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }), 1.95);
    // Neighbours come from one pair of the polar method: they must not go together.
    double product = 0, fourth = 0;
    for (size_t i = 0; i + 1 < sample.size(); i += 2) product += double{sample[i]} * sample[i + 1];
    for (const float x : sample) fourth += std::pow(x, 4);
    EXPECT_NEAR(product / 50000, 0, 0.02);
    EXPECT_NEAR(fourth / 100001, 3, 0.15);
  }
}

TEST(Random, UniformsFillTheUnitInterval) {
  std::vector<float> sample(100000);
  Random(7).FillUniform(sample);
  EXPECT_LT(KolmogorovSmirnov(sample, [](double x) { return x; }), 1.95);
  EXPECT_GE(*std::min_element(sample.begin(), sample.end()), 0);
  EXPECT_LT(*std::max_element(sample.begin(), sample.end()), 1);
  Random random(8);
  std::vector<float> singles(100000), normals(100000);
  for (float& x : singles) x = static_cast<float>(random.Uniform());
  for (float& x : normals) x = static_cast<float>(random.Normal());
  EXPECT_LT(KolmogorovSmirnov(singles, [](double x) { return x; }), 1.95);
  EXPECT_LT(KolmogorovSmirnov(normals, [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }), 1.95);
}

TEST(Random, IntegersHaveNoBias) {
  Random random(5);
  std::vector<int> counts(6);
  for (int i = 0; i < 60000; ++i) ++counts[random.UniformInt(6)];
  double chi_square = 0;
  for (const int count : counts) chi_square += std::pow(count - 10000.0, 2) / 10000;
  EXPECT_LT(chi_square, 20.5);  // 5 degrees of freedom, p = 0.001
}

TEST(Random, SameSeedAndStreamGiveTheSameNumbers) {
  Random a(1, 2), b(1, 2), other_stream(1, 3), other_seed(2, 2);
  const uint64_t first = a.NextUint64();
  EXPECT_EQ(first, b.NextUint64());
  EXPECT_NE(first, other_stream.NextUint64());
  EXPECT_NE(first, other_seed.NextUint64());
}

TEST(Random, StreamsOfOneSeedAreUncorrelated) {
  std::vector<float> a(50000), b(50000);
  Random(1, 0).FillNormal(a);
  Random(1, 1).FillNormal(b);
  EXPECT_NEAR(std::inner_product(a.begin(), a.end(), b.begin(), 0.0) / 50000, 0, 0.02);
}

TEST(Random, ShuffleReachesEveryOrderEquallyOften) {
  Random random(11);
  std::vector<int> counts(6);
  for (int i = 0; i < 6000; ++i) {
    std::vector<uint32_t> items = {0, 1, 2};
    random.Shuffle(items);
    ++counts[items[0] * 2 + (items[1] > items[2] ? 1 : 0)];
  }
  for (const int count : counts) EXPECT_NEAR(count, 1000, 130);
}

}  // namespace
}  // namespace astray
