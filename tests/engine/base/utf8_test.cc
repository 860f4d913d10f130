#include "engine/base/utf8.h"

#include <gtest/gtest.h>

namespace astray {
namespace {

TEST(Utf8, WhatIsWellFormedIsKnown) {
  for (const char* text : {"", "plain", "Z\xc3\xbcrich", "\xe2\x82\xac", "\xf0\x9f\x9a\x92", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(IsUtf8(text)) << text;
  }
  // A continuation alone, one missing, overlong forms, a surrogate, past the last character.
  for (const char* text : {"\x80", "a\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff"}) {
    EXPECT_FALSE(IsUtf8(text)) << text;
  }
}

TEST(Utf8, ReadableTextIsUtf8WithoutControlsAndKeepsTheRest) {
  EXPECT_EQ(ReadableUtf8("Z\xc3\xbcrich", 100), "Z\xc3\xbcrich");
  EXPECT_EQ(ReadableUtf8("a\tb\nc\x1b[2J\x7f", 100), "a b\\x0ac\\x1b[2J\\x7f");
  EXPECT_EQ(ReadableUtf8(std::string_view("\0\xff", 2), 100), "\\x00\\xff");
}

TEST(Utf8, ReadableTextIsCutAtACharacter) {
  EXPECT_EQ(ReadableUtf8("ab\xe2\x82\xac", 5), "ab\xe2\x82\xac");
  EXPECT_EQ(ReadableUtf8("ab\xe2\x82\xac", 4), "ab");
  EXPECT_EQ(ReadableUtf8("ab\xff", 5), "ab");
  EXPECT_EQ(ReadableUtf8("ab", 0), "");
}

}  // namespace
}  // namespace astray
