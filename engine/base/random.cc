#include "engine/base/random.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <utility>

#include "engine/base/random_array.h"

namespace astray {
namespace {

template <typename Fill>
void FillChunks(std::span<float> out, Fill fill) {
  for (size_t begin = 0; begin < out.size(); begin += RandomArray::kChunk) {
    fill(begin / RandomArray::kChunk, out.subspan(begin, std::min(RandomArray::kChunk, out.size() - begin)));
  }
}

}  // namespace

uint64_t SplitMix64(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

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
  const RandomArray array(NextUint64());
  FillChunks(out, [&](size_t chunk, std::span<float> values) { array.FillUniform(chunk, values); });
}

void Random::FillNormal(std::span<float> out) {
  const RandomArray array(NextUint64());
  FillChunks(out, [&](size_t chunk, std::span<float> values) { array.FillNormal(chunk, values); });
}

void Random::Shuffle(std::span<uint32_t> items) {
  for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[UniformInt(i)]);
}

}  // namespace astray
