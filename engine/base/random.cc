#include "engine/base/random.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <utility>

namespace astray {
namespace {

uint64_t SplitMix64(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

// 24 bits into [0, 1); every value is exact in float.
float UnitFloat(uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24f; }

constexpr size_t kBlockPairs = 64;
using NormalBlock = std::array<float, 2 * kBlockPairs>;

// ln(x) for normal x > 0, within 1e-7 of the larger of 1 and |ln x|. With x = 2^k m and m in [√½, √2):
// ln m = 2 artanh(s), s = (m - 1) / (m + 1).
inline float Log(float x) {
  constexpr int32_t kSqrtHalf = 0x3f3504f3;  // the bits of √½
  const int32_t bits = std::bit_cast<int32_t>(x) - kSqrtHalf;
  const float k = static_cast<float>(bits >> 23);
  const float m = std::bit_cast<float>((bits & 0x7fffff) + kSqrtHalf);
  const float s = (m - 1) / (m + 1);
  const float z = s * s;
  const float artanh = s + s * z * (1.0f / 3 + z * (1.0f / 5 + z * (1.0f / 7)));
  return k * std::numbers::ln2_v<float> + 2 * artanh;
}

// Box & Muller 1958 without branches or library functions: the compiler makes vectors of it, and every operation is
// one that IEEE 754 rounds exactly, so that the bits are the same everywhere (CMakeLists.txt keeps fused operations
// off). A word's low half gives the radius, its high half the angle: a quadrant and a place in it.
NormalBlock BoxMuller(const std::array<uint64_t, kBlockPairs>& words) {
  NormalBlock out;
  std::array<int32_t, kBlockPairs> low, high;
  for (size_t i = 0; i < kBlockPairs; ++i) {
    low[i] = static_cast<int32_t>(static_cast<uint32_t>(words[i]));
    high[i] = static_cast<int32_t>(words[i] >> 32);
  }
  for (size_t i = 0; i < kBlockPairs; ++i) {
    const float u = (static_cast<float>(low[i] & 0x7fffffff) + 0.5f) * 0x1p-31f;            // (0, 1]
    const float radius = static_cast<float>((high[i] >> 31) | 1) * std::sqrt(-2 * Log(u));  // the sign turns by π
    // From -π/4 to π/4, where short Taylor series are exact to a float's last digits.
    const float angle = (static_cast<float>(high[i] & 0x3fffffff) * 0x1p-30f - 0.5f) * (std::numbers::pi_v<float> / 2);
    const float z = angle * angle;
    const float sine =
        radius * (angle - angle * z * (1.0f / 6 - z * (1.0f / 120 - z * (1.0f / 5040 - z * (1.0f / 362880)))));
    const float cosine = radius * (1 - z * (0.5f - z * (1.0f / 24 - z * (1.0f / 720 - z * (1.0f / 40320)))));
    const bool swap = (high[i] & 0x40000000) != 0;  // mirrors the angle at π/4
    out[2 * i] = swap ? sine : cosine;
    out[2 * i + 1] = swap ? cosine : sine;
  }
  return out;
}

}  // namespace

Random::Random(uint64_t seed) : Random(seed, 0) {}

Random::Random(uint64_t seed, uint64_t stream) {
  uint64_t state = seed;
  // One round mixes the seed before the stream is added, so that (1, 2) and (2, 1) have nothing in common.
  state = SplitMix64(state) + stream * 0xd1342543de82ef95;
  for (uint64_t& word : state_) word = SplitMix64(state);
}

uint64_t Random::NextUint64() {
  const uint64_t result = std::rotl(state_[0] + state_[3], 23) + state_[0];
  const uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

uint64_t Random::UniformInt(uint64_t bound) {
  const uint64_t limit = -bound % bound;  // 2^64 mod bound: values below it would be drawn once too often
  uint64_t value = NextUint64();
  while (value < limit) value = NextUint64();
  return value % bound;
}

double Random::Uniform() { return static_cast<double>(NextUint64() >> 11) * 0x1p-53; }

double Random::Normal() {
  // Box & Muller 1958; 1 - u keeps the logarithm finite.
  const double radius = std::sqrt(-2.0 * std::log(1.0 - Uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * Uniform());
}

void Random::FillUniform(std::span<float> out) {
  size_t i = 0;
  for (; i + 1 < out.size(); i += 2) {
    const uint64_t bits = NextUint64();
    out[i] = UnitFloat(static_cast<uint32_t>(bits));
    out[i + 1] = UnitFloat(static_cast<uint32_t>(bits >> 32));
  }
  if (i < out.size()) out[i] = UnitFloat(static_cast<uint32_t>(NextUint64()));
}

void Random::FillNormal(std::span<float> out) {
  NormalBlock normals;
  for (size_t i = 0; i < out.size(); i += normals.size()) {
    std::array<uint64_t, kBlockPairs> bits;
    for (uint64_t& word : bits) word = NextUint64();
    normals = BoxMuller(bits);
    std::copy_n(normals.begin(), std::min(normals.size(), out.size() - i), out.begin() + static_cast<ptrdiff_t>(i));
  }
}

void Random::Shuffle(std::span<uint32_t> items) {
  for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[UniformInt(i)]);
}

}  // namespace astray
