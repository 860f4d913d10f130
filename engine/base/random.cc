#include "engine/base/random.h"

#include <bit>
#include <cmath>
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
  // Marsaglia & Bray's polar method needs no trigonometry and uses both numbers of a pair.
  size_t i = 0;
  while (i < out.size()) {
    const uint64_t bits = NextUint64();
    const float u = 2.0f * UnitFloat(static_cast<uint32_t>(bits)) - 1.0f;
    const float v = 2.0f * UnitFloat(static_cast<uint32_t>(bits >> 32)) - 1.0f;
    const float square = u * u + v * v;
    if (square >= 1.0f || square == 0.0f) continue;
    const float factor = std::sqrt(-2.0f * std::log(square) / square);
    out[i++] = u * factor;
    if (i < out.size()) out[i++] = v * factor;
  }
}

void Random::Shuffle(std::span<uint32_t> items) {
  for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[UniformInt(i)]);
}

}  // namespace astray
