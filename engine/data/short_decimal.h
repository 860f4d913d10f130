// Decimal numbers as most files have them, a few digits around a point, read eight digits at a time.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace astray {

// Bytes behind a number that must be readable, whatever they hold.
inline constexpr size_t kShortDecimalSlack = 24;

// Reads [-]digits[.digits][e[+-]digits] from `text` as far as it goes, as the double next to it (Clinger 1990, "How to
// read floating point numbers accurately": digits below 2^53 and a power of ten up to 22 are exact doubles, so one
// multiplication or division rounds once). Returns its end; null for what is no such number, or a longer one, which may
// be a number all the same.
inline const char* ParseShortDecimal(const char* text, double* number) {
  static_assert(std::endian::native == std::endian::little);
  static constexpr std::array<double, 23> kPowers = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                     1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                     1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  static constexpr std::array<uint64_t, 9> kWholePowers = {1,       10,        100,        1'000,      10'000,
                                                           100'000, 1'000'000, 10'000'000, 100'000'000};
  struct Digits {
    uint64_t value;
    size_t count;  // 8: perhaps more follow
  };
  constexpr uint64_t kExact = uint64_t{1} << 53;
  const auto read_digits = [](const char* at) -> Digits {
    uint64_t bytes;
    std::memcpy(&bytes, at, sizeof(bytes));
    bytes ^= 0x3030303030303030;
    // A byte over 9 has its high bit set after the addition; its carry only reaches bytes behind it.
    const uint64_t others = (bytes | (bytes + 0x7676767676767676)) & 0x8080808080808080;
    const size_t count = others == 0 ? 8 : static_cast<size_t>(std::countr_zero(others)) / 8;
    if (count == 0) return {0, 0};
    bytes <<= 64 - 8 * count;  // zeros lead
    bytes = bytes * 10 + (bytes >> 8);
    return {(((bytes & 0x000000FF000000FF) * 0x000F424000000064) +
             (((bytes >> 16) & 0x000000FF000000FF) * 0x0000271000000001)) >>
                32,
            count};
  };

  const bool negative = *text == '-';
  text += negative ? 1 : 0;
  Digits whole = read_digits(text);
  text += whole.count;
  if (whole.count == 8) {
    const Digits more = read_digits(text);
    if (more.count == 8) return nullptr;
    text += more.count;
    whole = {whole.value * kWholePowers[more.count] + more.value, whole.count + more.count};
  }
  uint64_t digits = whole.value;
  int exponent = 0;
  if (*text == '.') {
    ++text;
    const Digits first = read_digits(text);
    text += first.count;
    digits = digits * kWholePowers[first.count] + first.value;
    exponent = -static_cast<int>(first.count);
    if (first.count == 8) {
      const Digits second = read_digits(text);
      if (second.count == 8) return nullptr;
      text += second.count;
      digits = digits * kWholePowers[second.count] + second.value;
      exponent -= static_cast<int>(second.count);
      if (whole.count + first.count + second.count > 19) return nullptr;  // more may not fit in 64 bits
    }
    if (whole.count + first.count == 0) return nullptr;
  } else if (whole.count == 0) {
    return nullptr;
  }
  if ((*text | 0x20) == 'e') {
    ++text;
    const bool below = *text == '-';
    text += below || *text == '+' ? 1 : 0;
    const Digits power = read_digits(text);
    if (power.count == 0 || power.count > 3) return nullptr;
    text += power.count;
    exponent += below ? -static_cast<int>(power.value) : static_cast<int>(power.value);
  }
  if (digits > kExact || exponent < -22 || exponent > 22) return nullptr;
  const auto value = static_cast<double>(static_cast<int64_t>(digits));  // signed: one instruction
  const double scaled =
      exponent < 0 ? value / kPowers[static_cast<size_t>(-exponent)] : value * kPowers[static_cast<size_t>(exponent)];
  // Without a branch: signs come as they like.
  *number = std::bit_cast<double>(std::bit_cast<uint64_t>(scaled) | uint64_t{negative} << 63);
  return text;
}

}  // namespace astray
