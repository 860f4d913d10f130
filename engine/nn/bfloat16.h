// Numbers of 16 bits: the upper half of a float, so with its range and 8 significant bits.
#pragma once

#include <bit>
#include <cstdint>

namespace astray {

inline bool IsBfloat16(float value) { return (std::bit_cast<uint32_t>(value) & 0xffff) == 0; }

// The nearest one, of two equally near the even one (IEEE 754's default). `value` is finite; beyond the largest one
// (3.39e38) comes infinity.
inline float RoundToBfloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return std::bit_cast<float>((bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000);
}

}  // namespace astray
