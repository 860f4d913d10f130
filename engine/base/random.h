// Seeded pseudo-random numbers that are the same on every platform (the standard library's distributions are not).
//
// Generator: xoshiro256++ (Blackman & Vigna 2019), seeded through splitmix64. Not thread-safe; not for secrets.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace astray {

// Steele, Lea & Flood 2014: the next number of a sequence that is good for seeding others.
uint64_t SplitMix64(uint64_t& state);

class Random {
 public:
  explicit Random(uint64_t seed);

  // An independent stream: the same (seed, stream) gives the same numbers. Use one for each purpose
  // (initialisation, shuffling, corruption), so that a change in one does not shift the others.
  Random(uint64_t seed, uint64_t stream);

  // Where it stands: a Random that takes it over goes on with the same numbers.
  using State = std::array<uint64_t, 4>;
  const State& state() const { return state_; }
  void set_state(const State& state) { state_ = state; }

  uint64_t NextUint64();
  uint64_t UniformInt(uint64_t bound);  // [0, bound), without modulo bias; bound > 0
  double Uniform();                     // [0, 1), 53 bits
  double Normal();                      // N(0, 1)
  // The numbers of a RandomArray whose key is the next word.
  void FillUniform(std::span<float> out);   // [0, 1), 24 bits
  void FillNormal(std::span<float> out);    // N(0, 1), |x| < 6.7
  void Shuffle(std::span<uint32_t> items);  // Fisher-Yates

 private:
  State state_;
};

}  // namespace astray
