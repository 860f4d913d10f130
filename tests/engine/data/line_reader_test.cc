#include "engine/data/line_reader.h"

#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace astray {
namespace {

std::vector<std::string> Lines(const std::string& text, LineReader::LongLines long_lines,
                               std::string* error = nullptr) {
  std::istringstream input(text);
  LineReader reader(ByteSource::FromStream(&input, "x.log"), "x.log", long_lines);
  std::vector<std::string> lines;
  absl::string_view line;
  while (true) {
    const auto more = reader.Next(&line);
    if (!more.ok()) {
      if (error != nullptr) *error = std::string(more.status().message());
      EXPECT_FALSE(*reader.Next(&line)) << "at its end after an error";
      return lines;
    }
    if (!*more) return lines;
    lines.emplace_back(line.substr(0, 20));
    if (line.size() > 20) lines.back() += "+" + std::to_string(line.size() - 20);
  }
}

TEST(LineReader, StripsWhiteSpaceAndKeepsBlankLines) {
  EXPECT_EQ(Lines("a\r\n\n b \nc", LineReader::LongLines::kRefuse), (std::vector<std::string>{"a", "", "b", "c"}));
  EXPECT_TRUE(Lines("", LineReader::LongLines::kRefuse).empty());
  EXPECT_EQ(Lines("\n", LineReader::LongLines::kRefuse).size(), 1u);
}

TEST(LineReader, ALineOfTheLimitIsWholeAndOneMoreIsNot) {
  const std::string most(LineReader::kMaxLineBytes, 'x');
  const std::string shown = absl::StrCat(std::string(20, 'x'), "+", LineReader::kMaxLineBytes - 20);
  EXPECT_EQ(Lines(most + "\r\nb\n", LineReader::LongLines::kRefuse), (std::vector<std::string>{shown, "b"}));
  EXPECT_EQ(Lines(most, LineReader::LongLines::kRefuse), (std::vector<std::string>{shown}));
  std::string error;
  EXPECT_EQ(Lines("a\n" + most + "y\nb\n", LineReader::LongLines::kRefuse, &error), (std::vector<std::string>{"a"}));
  EXPECT_EQ(error, "x.log: line 2: expected at most 1048576 bytes in a line");
  EXPECT_EQ(Lines("a\n" + most + "y\nb\n", LineReader::LongLines::kCut), (std::vector<std::string>{"a", shown, "b"}));
}

TEST(LineReader, AnEndlessLineIsCutInBoundedMemory) {
  const std::string endless(10 << 20, 'x');
  EXPECT_EQ(Lines(endless + "\nb", LineReader::LongLines::kCut).back(), "b");
  EXPECT_EQ(Lines(endless + "\nb", LineReader::LongLines::kCut).size(), 2u);
  EXPECT_EQ(Lines(endless, LineReader::LongLines::kCut).size(), 1u);
}

}  // namespace
}  // namespace astray
