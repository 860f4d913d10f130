// A long array of random numbers, filled chunk by chunk: in any order, on any thread, always to the same bits.
//
// Each chunk has a generator of its own, eight interleaved xoshiro256++ (random.h) seeded through splitmix64 from the
// array's key and the chunk's index. Vectors of any width compute the same bits: every operation is one that IEEE 754
// rounds exactly, and none are fused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace astray {

class RandomArray {
 public:
  static constexpr size_t kChunk = 4096;  // values
  static constexpr size_t Chunks(size_t values) { return (values + kChunk - 1) / kChunk; }

  // Arrays of different keys are independent.
  explicit RandomArray(uint64_t key) : key_(key) {}

  // `values`: at most kChunk.
  void FillUniform(size_t chunk, std::span<float> values) const;             // [0, 1), 24 bits
  void FillNormal(size_t chunk, std::span<float> values) const;              // N(0, 1), |x| < 6.7
  void AddNormal(size_t chunk, float sigma, std::span<float> values) const;  // values += sigma N(0, 1)

 private:
  uint64_t key_;
};

}  // namespace astray
