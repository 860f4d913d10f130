#include "engine/data/event_time.h"

#include <gtest/gtest.h>

namespace astray {
namespace {

TEST(EventTime, ReadsDatesAndNumbers) {
  const double eight = 1769846400;  // 2026-01-31T08:00:00Z, as `date` has it
  EXPECT_EQ(ParseEventTime("2026-01-31T08:00:00Z"), eight);
  EXPECT_EQ(ParseEventTime(" 2026-01-31 08:00:00 "), eight);
  EXPECT_EQ(ParseEventTime("2026-01-31T09:00:00+01:00"), eight);
  EXPECT_EQ(ParseEventTime("2026-01-31 08:00"), eight);
  EXPECT_EQ(ParseEventTime("2026-01-31"), eight - 8 * 3600);
  EXPECT_DOUBLE_EQ(*ParseEventTime("2026-01-31T08:00:00.25Z"), eight + 0.25);
  EXPECT_EQ(ParseEventTime("1769846400"), eight);
  EXPECT_DOUBLE_EQ(*ParseEventTime("1769846400.5"), eight + 0.5);
  EXPECT_EQ(ParseEventTime("1769846400000"), eight);
  EXPECT_EQ(ParseEventTime("1769846400000000"), eight);
  EXPECT_EQ(ParseEventTime("1769846400000000000"), eight);
  EXPECT_EQ(ParseEventTime("-5"), -5.0);
}

TEST(EventTime, AnythingElseIsNone) {
  for (const char* text : {"", "yesterday", "2026-13-01", "2026-01-31T25:00:00Z", "nan", "inf", "-inf", "1e300",
                           "infinite-future", "infinite-past", "2026-01-31T08:00:00Zz", "12:30"}) {
    EXPECT_FALSE(ParseEventTime(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace astray
