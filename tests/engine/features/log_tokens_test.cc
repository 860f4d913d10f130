#include "engine/features/log_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace astray {
namespace {

std::string Tokens(std::string_view line) {
  std::vector<std::string_view> tokens = {"left over"};
  TokenizeLogLine(line, &tokens);
  std::string joined;
  for (const std::string_view token : tokens) joined.append(joined.empty() ? "" : "|").append(token);
  return joined;
}

TEST(LogTokens, WhatChangesFromEventToEventIsAWildcard) {
  EXPECT_EQ(Tokens("Receiving block blk_17 src: /10.0.0.1:50010"), "Receiving|block|<*>|src:|<*>");
  EXPECT_EQ(Tokens("core in /home/a/b dumped, 0xdeadbeef"), "core|in|<*>|dumped,|<*>");
  EXPECT_EQ(Tokens("Dec Mon Decline"), "<*>|Decline") << "wildcards in a row are one";
  EXPECT_EQ(Tokens("and / or"), "and|/|or") << "a slash alone is no path";
  EXPECT_EQ(Tokens("a\x01b c"), "<*>|c");
}

TEST(LogTokens, BracketsAndParenthesesAreOneEach) {
  EXPECT_EQ(Tokens("[Sun Dec 04 04:47:44 2005] [notice] init() ok"), "<*>|init|()|ok");
  EXPECT_EQ(Tokens("INFO [QuorumPeer[myid=1]/0:0:2181:Fast@774] - done"), "INFO|<*>|-|done");
  EXPECT_EQ(Tokens("sshd(pam_unix)[19939]: failure"), "sshd|(<*>)|<*>|:|failure");
  EXPECT_EQ(Tokens("open [ and open ( again"), "open|[|and|open|(|again") << "what does not close is a sign like any";
}

TEST(LogTokens, AWordEndsBehindAnEqualsSign) { EXPECT_EQ(Tokens("user=root uid=0 tty="), "user=|root|uid=|<*>|tty="); }

TEST(LogTokens, EmptyAndEndlessLines) {
  EXPECT_EQ(Tokens(""), "");
  EXPECT_EQ(Tokens("   \t "), "");
  std::string line;
  for (int i = 0; i < 10'000; ++i) line += "word ";
  std::vector<std::string_view> tokens;
  TokenizeLogLine(line, &tokens);
  EXPECT_EQ(tokens.size(), kMaxLogTokens + 1);
  EXPECT_EQ(tokens.back(), kWildcard);
  // Brackets that never close must not be looked for again and again.
  TokenizeLogLine(std::string(1 << 20, '['), &tokens);
  EXPECT_EQ(tokens.size(), 1u);
}

}  // namespace
}  // namespace astray
