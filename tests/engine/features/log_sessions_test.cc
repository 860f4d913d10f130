#include "engine/features/log_sessions.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/random.h"

namespace astray {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// The event of a line is the number behind its last blank; a line that ends otherwise has none.
uint32_t EventOf(std::string_view line) {
  const std::string_view word = line.substr(line.rfind(' ') + 1);
  return word.empty() || word[0] < '0' || word[0] > '9' ? kUnknownEvent
                                                        : static_cast<uint32_t>(std::stoul(std::string(word)));
}

class Grouping {
 public:
  explicit Grouping(const std::string& recipe, size_t max_open = LogSessions::kMaxOpen)
      : rules_(*LogRules::Create(Parse(recipe))), sessions_(&rules_, EventOf, max_open) {}

  // Those that the line closes.
  std::vector<LogSession> Add(std::string_view line) {
    std::vector<LogSession> closed;
    sessions_.Add(line, &closed);
    return closed;
  }
  std::vector<LogSession> Flush() {
    std::vector<LogSession> closed;
    sessions_.Flush(&closed);
    EXPECT_EQ(sessions_.open(), 0u);
    return closed;
  }
  const LogSessions& sessions() const { return sessions_; }

 private:
  static v1::LogRecipe Parse(const std::string& text) {
    v1::LogRecipe recipe;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &recipe)) << text;
    return recipe;
  }
  LogRules rules_;
  LogSessions sessions_;
};

std::vector<std::string> Keys(const std::vector<LogSession>& sessions) {
  std::vector<std::string> keys;
  for (const LogSession& session : sessions) keys.push_back(session.key);
  return keys;
}

std::string At(int second, const std::string& text) {
  return absl::StrFormat("2024-05-01 10:%02d:%02d %s", second / 60, second % 60, text);
}

TEST(LogSessions, AKeysLinesAreASession) {
  Grouping grouping("session_pattern: 's[0-9]+'");
  EXPECT_THAT(grouping.Add(At(1, "s1 begins 1")), IsEmpty());
  grouping.Add(At(2, "s2 begins 1"));
  grouping.Add("nobody 5");
  grouping.Add(At(4, "s1 new"));
  grouping.Add("s1 ends 3");
  const auto closed = grouping.Flush();
  ASSERT_THAT(Keys(closed), ElementsAre("s2", "s1")) << "silent longest first";
  EXPECT_THAT(closed[1].events, ElementsAre(1, kUnknownEvent, 3));
  EXPECT_EQ(closed[1].lines, 3u);
  EXPECT_EQ(closed[1].first_line, 1u);
  EXPECT_EQ(*closed[1].last_time - *closed[1].first_time, 3);
  EXPECT_EQ(closed[1].unknown_line, "2024-05-01 10:00:04 s1 new");
  EXPECT_EQ(closed[0].unknown_line, "");
  EXPECT_EQ(grouping.sessions().lines(), 5u);
  EXPECT_EQ(grouping.sessions().lines_without_session(), 1u);
}

TEST(LogSessions, SessionsInterleavedAreSessionsAlone) {
  Random random(5);
  std::map<std::string, std::vector<uint32_t>> expected;
  Grouping grouping("session_pattern: 's[0-9]+'");
  for (int i = 0; i < 5000; ++i) {
    const std::string key = absl::StrCat("s", static_cast<int>(random.Uniform() * 50));
    const auto event = static_cast<uint32_t>(random.Uniform() * 9);
    expected[key].push_back(event);
    EXPECT_THAT(grouping.Add(absl::StrCat(key, " ", event)), IsEmpty());
  }
  std::map<std::string, std::vector<uint32_t>> found;
  for (const LogSession& session : grouping.Flush()) found[session.key] = session.events;
  EXPECT_EQ(found, expected);
}

TEST(LogSessions, AnIdleSessionIsComplete) {
  Grouping grouping("session_pattern: 's[0-9]+' idle_seconds: 60");
  grouping.Add(At(0, "s1 1"));
  grouping.Add(At(30, "s2 1"));
  grouping.Add("s3 1");
  EXPECT_THAT(grouping.Add(At(59, "s4 1")), IsEmpty());
  EXPECT_THAT(Keys(grouping.Add(At(60, "another's"))), ElementsAre("s1")) << "a line of no session tells the time, too";
  EXPECT_THAT(grouping.Add("s2 2"), IsEmpty()) << "a line without a time is no sign of life";
  EXPECT_THAT(Keys(grouping.Add(At(90, "s1 2"))), ElementsAre("s2"));
  EXPECT_THAT(Keys(grouping.Add(At(3000, "x"))), ElementsAre("s4", "s1")) << "s3 has no time and is never idle";
  EXPECT_THAT(Keys(grouping.Flush()), ElementsAre("s3"));
}

TEST(LogSessions, WithoutIdleSecondsASessionWaits) {
  Grouping grouping("session_pattern: 's[0-9]+' idle_seconds: 0");
  grouping.Add(At(0, "s1 1"));
  EXPECT_THAT(grouping.Add(At(3599, "s2 1")), IsEmpty());
}

TEST(LogSessions, TheOneSilentLongestGivesWay) {
  Grouping grouping("session_pattern: 's[0-9]+'", 2);
  grouping.Add("s1 1");
  grouping.Add("s2 1");
  grouping.Add("s1 2");
  EXPECT_THAT(Keys(grouping.Add("s3 1")), ElementsAre("s2"));
  EXPECT_THAT(Keys(grouping.Add("s2 2")), ElementsAre("s1"));
  EXPECT_EQ(grouping.sessions().open(), 2u);
  EXPECT_THAT(Keys(grouping.Flush()), ElementsAre("s3", "s2"));
}

TEST(LogSessions, WindowsOfLinesFollowEachOther) {
  Grouping grouping("window_lines: 3");
  std::vector<LogSession> closed;
  for (uint32_t i = 0; i < 8; ++i) {
    for (LogSession& session : grouping.Add(absl::StrCat("line ", i))) closed.push_back(std::move(session));
  }
  EXPECT_THAT(Keys(closed), ElementsAre("1", "4"));
  EXPECT_THAT(closed[1].events, ElementsAre(3, 4, 5));
  EXPECT_THAT(Keys(grouping.Flush()), ElementsAre("7"));
}

TEST(LogSessions, WindowsOfTimeBeginAtMultiples) {
  Grouping grouping("window_seconds: 30");
  EXPECT_THAT(grouping.Add("before any time 0"), IsEmpty());
  EXPECT_EQ(grouping.sessions().lines_without_session(), 1u);
  grouping.Add(At(14, "1"));
  grouping.Add(At(29, "2"));
  const auto first = grouping.Add(At(65, "3"));
  ASSERT_THAT(Keys(first), ElementsAre("2024-05-01T10:00:00Z"));
  EXPECT_THAT(first[0].events, ElementsAre(1, 2));
  EXPECT_THAT(grouping.Add(At(59, "4")), IsEmpty()) << "a little late";
  EXPECT_THAT(grouping.Add("no time 5"), IsEmpty());
  const auto second = grouping.Add(At(0, "6"));
  ASSERT_THAT(Keys(second), ElementsAre("2024-05-01T10:01:00Z")) << "the clock went back";
  EXPECT_THAT(second[0].events, ElementsAre(3, 4, 5));
  EXPECT_THAT(Keys(grouping.Flush()), ElementsAre("2024-05-01T10:00:00Z"));
}

TEST(LogSessions, ALongSessionIsClosedAndBegunAgain) {
  Grouping grouping("session_pattern: 's[0-9]+'");
  for (size_t i = 1; i < LogSessions::kMaxEvents; ++i) ASSERT_THAT(grouping.Add("s1 1"), IsEmpty());
  EXPECT_THAT(Keys(grouping.Add("s1 2")), ElementsAre("s1"));
  EXPECT_THAT(grouping.Add("s1 3"), IsEmpty());
  const auto rest = grouping.Flush();
  ASSERT_THAT(Keys(rest), ElementsAre("s1"));
  EXPECT_THAT(rest[0].events, ElementsAre(3));
  EXPECT_EQ(rest[0].first_line, LogSessions::kMaxEvents + 1);
}

TEST(LogSessions, KeysOfAnyBytesAreReadable) {
  Grouping grouping("session_pattern: '(?s)key=(\\\\C+)'");
  grouping.Add("key=\xff\x1b[2J");
  grouping.Add("key=" + std::string(1000, 'a') + "1");
  grouping.Add("key=" + std::string(1000, 'a') + "2");
  EXPECT_THAT(Keys(grouping.Flush()), ElementsAre("\\xff\\x1b[2J", std::string(256, 'a')));
}

TEST(LogSessions, LinesMayBeAnything) {
  Grouping grouping("session_pattern: 's[0-9]+'");
  grouping.Add("");
  grouping.Add(std::string("s1 \0\xff\xfe", 6));
  grouping.Add("s1 " + std::string(10'000'000, 'x'));
  const auto closed = grouping.Flush();
  ASSERT_THAT(Keys(closed), ElementsAre("s1"));
  EXPECT_EQ(closed[0].lines, 2u);
  EXPECT_EQ(closed[0].unknown_line, "s1 \\x00\\xff\\xfe");
}

}  // namespace
}  // namespace astray
