#include "engine/features/log_time.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"

namespace astray {
namespace {

TEST(LogTime, FindsTimesInTheUsualForms) {
  constexpr double kTime = 1226262975;  // 2008-11-09T20:36:15Z
  EXPECT_EQ(FindLogTime("2008-11-09 20:36:15 INFO x"), kTime);
  EXPECT_EQ(FindLogTime("2008-11-09T20:36:15Z"), kTime);
  EXPECT_NEAR(*FindLogTime("[2008-11-09 20:36:15,148] x"), kTime + 0.148, 1e-6);
  EXPECT_NEAR(*FindLogTime("2008-11-09T20:36:15.148962Z x"), kTime + 0.148962, 1e-6);
  EXPECT_EQ(FindLogTime("2008-11-09T22:36:15+02:00"), kTime);
  EXPECT_EQ(FindLogTime("2008-11-09T15:06:15-0530"), kTime);
  EXPECT_EQ(FindLogTime("node-17 2008-11-09 20:36:15"), kTime) << "another - in front of it";
  EXPECT_EQ(FindLogTime("2008-11-09 20:36:15, and more"), kTime);
}

TEST(LogTime, FindsNoneWhereThereIsNone) {
  for (const char* line :
       {"", "-", "2008", "2008-11-09", "2008-11-09 20:36", "08-11-09 20:36:15", "2008-13-09 20:36:15",
        "2023-02-29 20:36:15", "2008-11-31 20:36:15", "2008-11-09 24:36:15", "2008-11-09_20:36:15", "081109 203615"}) {
    EXPECT_EQ(FindLogTime(line), std::nullopt) << line;
  }
  EXPECT_EQ(FindLogTime(absl::StrCat(std::string(46, ' '), "2008-11-09 20:36:15")), std::nullopt)
      << "not in the first 64 bytes";
  EXPECT_TRUE(FindLogTime(absl::StrCat(std::string(45, ' '), "2008-11-09 20:36:15")));
}

TEST(LogTime, EveryDayIsAbseilsDay) {
  for (int64_t day = -200'000; day < 200'000; day += 37) {
    const absl::Time time = absl::FromUnixSeconds(day * 86400 + 4321);
    const std::string text = absl::FormatTime("%Y-%m-%d %H:%M:%S", time, absl::UTCTimeZone());
    if (text.size() != 19) continue;
    ASSERT_EQ(FindLogTime(text), static_cast<double>(absl::ToUnixSeconds(time))) << text;
  }
}

}  // namespace
}  // namespace astray
