#include "engine/base/shown_text.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace astray {
namespace {

TEST(ShownText, IsShortAndHasNoControlBytes) {
  EXPECT_EQ(ShownText("flow"), "flow");
  EXPECT_EQ(ShownText("a\nb\x1b[2J"), "a\\nb\\033[2J");
  EXPECT_EQ(ShownText(std::string(41, 'x')), absl::StrCat(std::string(40, 'x'), "..."));
  EXPECT_EQ(ShownText("xyz", 2), "xy...");
  EXPECT_EQ(ShownText("Ventil zu f\xc3\xbcnf"), "Ventil zu f\xc3\xbcnf");
}

}  // namespace
}  // namespace astray
