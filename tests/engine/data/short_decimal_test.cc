#include "engine/data/short_decimal.h"

#include <gtest/gtest.h>

#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>

#include "engine/base/random.h"

namespace astray {
namespace {

// Returns how many bytes are read, 0 for none.
size_t Parse(std::string text, double* number) {
  text.append(kShortDecimalSlack, '\0');
  const char* const end = ParseShortDecimal(text.data(), number);
  return end == nullptr ? 0 : static_cast<size_t>(end - text.data());
}

TEST(ShortDecimal, ReadsAsFarAsItGoes) {
  double number = 0;
  EXPECT_EQ(Parse("12.5,7", &number), 4u);
  EXPECT_EQ(number, 12.5);
  EXPECT_EQ(Parse("-1e3x", &number), 4u);
  EXPECT_EQ(number, -1000);
  EXPECT_EQ(Parse(".5", &number), 2u);
  EXPECT_EQ(Parse("5.", &number), 2u);
  EXPECT_EQ(Parse("-0", &number), 2u);
  EXPECT_TRUE(std::signbit(number));
  EXPECT_EQ(Parse("1700000000123", &number), 13u);
  EXPECT_EQ(number, 1700000000123.0);
}

TEST(ShortDecimal, LeavesTheRestToOthers) {
  double number = 0;
  for (const char* text : {"", "-", ".", "-.", "e5", "1e", "1e+", "+1", "nan", "1e23", "1e-23", "1e1000",
                           "9007199254740993", "12345678.12345678901", "0.1234567890123456", "1234567890123456"}) {
    EXPECT_EQ(Parse(text, &number), 0u) << text;
  }
}

// Whatever it does read is what the standard library makes of it, to the last bit.
TEST(ShortDecimal, IsTheNextDouble) {
  Random random(1);
  size_t read = 0;
  for (int i = 0; i < 300'000; ++i) {
    char text[64];
    const double value = random.Normal() * std::pow(10.0, static_cast<double>(random.UniformInt(20)) - 10);
    const int digits = static_cast<int>(random.UniformInt(17));
    const char* const format = i % 3 == 0 ? "%.*f" : i % 3 == 1 ? "%.*g" : "%.*e";
    std::snprintf(text, sizeof(text), format, digits, value);
    double got = 0, expected = 0;
    const size_t size = Parse(text, &got);
    if (size == 0) continue;
    ++read;
    ASSERT_EQ(size, std::strlen(text)) << text;
    std::from_chars(text, text + size, expected);
    ASSERT_EQ(std::memcmp(&got, &expected, sizeof(got)), 0) << text << ": " << got << " for " << expected;
  }
  EXPECT_GT(read, 150'000u);
}

}  // namespace
}  // namespace astray
