#include "client/heat_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_split.h"

namespace astray {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(HeatMap, HasACellForEachValueAndAFrameAroundOne) {
  const std::string svg = ToSvg({.title = "a < b & c",
                                 .column_title = "columns",
                                 .row_title = "rows",
                                 .columns = {"8", "16"},
                                 .rows = {"0.1", "0.5"},
                                 .values = {0.5, 0.75, 0.9, 1},
                                 .marked = 2});
  EXPECT_THAT(svg, HasSubstr("a &lt; b &amp; c"));
  EXPECT_THAT(svg, Not(HasSubstr("a < b")));
  for (const char* text : {">0.5000<", ">0.7500<", ">0.9000<", ">1.0000<", ">8<", ">16<", ">0.1<"}) {
    EXPECT_THAT(svg, HasSubstr(text));
  }
  size_t frames = 0;
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(svg, '\n'))) {
    frames += line.find("stroke=\"#d9480f\"") != std::string::npos;
  }
  EXPECT_EQ(frames, 1u);
  EXPECT_THAT(svg, HasSubstr("fill=\"#eef4fb\"")) << "the least value is pale";
  EXPECT_THAT(svg, HasSubstr("fill=\"#0b4a8f\"")) << "the largest is deep";
}

TEST(HeatMap, EqualValuesAreNoDivisionByZero) {
  EXPECT_THAT(ToSvg({.columns = {"1"}, .rows = {"1"}, .values = {0.5}}), HasSubstr("#0b4a8f"));
}

}  // namespace
}  // namespace astray
