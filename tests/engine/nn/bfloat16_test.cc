#include "engine/nn/bfloat16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace astray {
namespace {

TEST(Bfloat16, IsAFloatOfEightSignificantBits) {
  for (const float value : {0.0f, -0.0f, 1.0f, -1.5f, 255.0f, 0x1p-126f, 0x1.fep127f}) {
    EXPECT_TRUE(IsBfloat16(value)) << value;
    EXPECT_EQ(RoundToBfloat16(value), value);
    EXPECT_EQ(std::signbit(RoundToBfloat16(value)), std::signbit(value));
  }
  for (const float value : {257.0f, 0.1f, 1 + 0x1p-8f, 0x1.ffp127f}) EXPECT_FALSE(IsBfloat16(value)) << value;
}

// A step of bfloat16 is 2^-7 from 1 to 2.
TEST(Bfloat16, RoundsToTheNearestAndFromTheMiddleToEven) {
  EXPECT_EQ(RoundToBfloat16(1 + 0x1p-8f), 1);
  EXPECT_EQ(RoundToBfloat16(1 + 0x1p-8f + 0x1p-23f), 1 + 0x1p-7f);
  EXPECT_EQ(RoundToBfloat16(1 + 3 * 0x1p-8f), 1 + 0x1p-6f);
  EXPECT_EQ(RoundToBfloat16(-1 - 3 * 0x1p-8f), -1 - 0x1p-6f);
  EXPECT_EQ(RoundToBfloat16(2 - 0x1p-20f), 2);
  EXPECT_EQ(RoundToBfloat16(std::numeric_limits<float>::max()), std::numeric_limits<float>::infinity());
}

}  // namespace
}  // namespace astray
