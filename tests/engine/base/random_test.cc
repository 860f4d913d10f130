#include "engine/base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <numeric>
#include <vector>

#include "engine/base/random_array.h"
#include "engine/base/sha256.h"

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

// The authors' generator, written plainly: xoshiro256++ (prng.di.unimi.it), seeded through splitmix64.
struct Reference {
  uint64_t s[4];

  static uint64_t SplitMix64(uint64_t& x) {
    uint64_t z = (x += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  static Reference Seeded(uint64_t seed, uint64_t stream) {
    uint64_t x = seed;
    x = SplitMix64(x) + stream * 0xd1342543de82ef95;
    Reference reference;
    for (uint64_t& word : reference.s) word = SplitMix64(x);
    return reference;
  }
  static uint64_t Rotate(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }
  uint64_t Next() {
    const uint64_t result = Rotate(s[0] + s[3], 23) + s[0];
    const uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = Rotate(s[3], 45);
    return result;
  }
};

TEST(Random, IsXoshiro256PlusPlus) {
  Reference published{{1, 2, 3, 4}};  // its first numbers from this state are published
  for (const uint64_t expected : {41943041ull, 58720359ull, 3588806011781223ull, 3591011842654386ull,
                                  9228616714210784205ull, 9973669472204895162ull, 14011001112246962877ull}) {
    EXPECT_EQ(published.Next(), expected);
  }
  for (const uint64_t seed : {0ull, 1ull, ~0ull}) {
    Random random(seed, 9);
    Reference reference = Reference::Seeded(seed, 9);
    for (int i = 0; i < 1000; ++i) ASSERT_EQ(random.NextUint64(), reference.Next());
  }
}

// The words of a chunk of a RandomArray as the header describes them: eight generators in turn.
struct ReferenceChunk {
  ReferenceChunk(uint64_t key, size_t chunk) {
    uint64_t x = key;
    x = Reference::SplitMix64(x) + chunk * 0xd1342543de82ef95;
    for (Reference& generator : generators) {
      for (uint64_t& word : generator.s) word = Reference::SplitMix64(x);
    }
  }
  Reference generators[8];
};

// Calls check(word, first, second) for each word and the two numbers of `sample` that come from it.
template <typename Check>
void ForEachWord(uint64_t key, const std::vector<float>& sample, Check check) {
  for (size_t chunk = 0; chunk < RandomArray::Chunks(sample.size()); ++chunk) {
    ReferenceChunk reference(key, chunk);
    for (size_t begin = 0; begin < RandomArray::kChunk; begin += 32) {
      for (size_t k = 0; k < 16; ++k) {
        const size_t i = chunk * RandomArray::kChunk + begin + k;
        const uint64_t word = reference.generators[k % 8].Next();
        if (i + 16 < sample.size()) check(word, sample[i], sample[i + 16]);
      }
    }
  }
}

// Box and Muller's transform of the same words, in double precision.
TEST(Random, NormalsAreBoxAndMullersOfTheWords) {
  std::vector<float> sample(128 * 500);
  Random(4).FillNormal(sample);
  ForEachWord(Random(4).NextUint64(), sample, [](uint64_t word, double first, double second) {
    const double u = (static_cast<double>(word & 0x7fffffff) + 0.5) / 2147483648.0;
    const uint64_t high = word >> 32;
    double angle = (static_cast<double>(high & 0x3fffffff) / 1073741824.0 - 0.5) * std::numbers::pi / 2;
    if (high & 0x40000000) angle = std::numbers::pi / 2 - angle;
    if (high & 0x80000000) angle += std::numbers::pi;
    const double radius = std::sqrt(-2 * std::log(u));
    // Near u = 1 float holds u to 6e-8 only, which a small radius shows.
    const double tolerance = 1e-6 * (1 + radius) + 1.2e-7 / std::max(radius, 3.4e-4);
    ASSERT_NEAR(first, radius * std::cos(angle), tolerance) << word;
    ASSERT_NEAR(second, radius * std::sin(angle), tolerance) << word;
  });
}

TEST(Random, UniformsAreTheUpperBitsOfTheWords) {
  std::vector<float> sample(10000);
  Random(4).FillUniform(sample);
  ForEachWord(Random(4).NextUint64(), sample, [](uint64_t word, double first, double second) {
    ASSERT_EQ(first, std::ldexp(static_cast<double>((word & 0xffffffff) >> 8), -24));
    ASSERT_EQ(second, std::ldexp(static_cast<double>(word >> 40), -24));
  });
}

// Every compiler and machine must give these bits, so that a seed means the same artifact everywhere.
TEST(Random, NormalsHaveTheSameBitsEverywhere) {
  std::vector<float> sample(100001);
  Random(1, 2).FillNormal(sample);
  EXPECT_EQ(Sha256Hex({reinterpret_cast<const char*>(sample.data()), sample.size() * sizeof(float)}),
            "07960a8b16a0c3abf7bdd2244fab0bca54ac0e8fb342344406f353f63773bd39");
}

TEST(Random, FillsAnyNumberOfValues) {
  for (size_t size = 0; size < 300; ++size) {
    std::vector<float> normals(size + 1, 99), uniforms(size + 1, 99);
    Random(6).FillNormal({normals.data(), size});
    Random(6).FillUniform({uniforms.data(), size});
    for (size_t i = 0; i < size; ++i) {
      ASSERT_LT(std::abs(normals[i]), 6.7f);
      ASSERT_LT(uniforms[i], 1.0f);
    }
    ASSERT_EQ(normals[size], 99);
    ASSERT_EQ(uniforms[size], 99);
  }
}

TEST(Random, NormalsFollowTheNormalDistribution) {
  for (uint64_t seed : {1, 2, 3}) {
    std::vector<float> sample(100001);
    Random(seed).FillNormal(sample);
    EXPECT_LT(KolmogorovSmirnov(sample, [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }), 1.95);
    // Neither neighbours nor their sizes may go together.
    double product = 0, squares = 0, fourth = 0;
    for (size_t i = 0; i + 1 < sample.size(); i += 2) {
      product += double{sample[i]} * sample[i + 1];
      squares += (std::pow(sample[i], 2) - 1) * (std::pow(sample[i + 1], 2) - 1);
    }
    for (const float x : sample) fourth += std::pow(x, 4);
    EXPECT_NEAR(product / 50000, 0, 0.02);
    EXPECT_NEAR(squares / 50000, 0, 0.04);
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
