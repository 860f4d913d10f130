#include "engine/data/json_lines_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <sstream>

#include "tests/engine/data/gzip.h"

namespace astray {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsNan;

class JsonLines {
 public:
  explicit JsonLines(const std::string& text, const std::vector<std::string>& features = {"flow", "pressure"})
      : input_(text), reader_(JsonLinesReader::FromStream(&input_, "live.jsonl", features)) {}
  absl::StatusOr<bool> Next(Row* row) { return reader_->Next(row); }
  // The message of the first error, after `good` rows.
  std::string Refusal(int good = 0) {
    Row row;
    for (; good > 0; --good) EXPECT_EQ(Next(&row).value_or(false), true);
    const auto more = Next(&row);
    EXPECT_EQ(more.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(Next(&row).value_or(true), false) << "after an error the reader is at its end";
    return std::string(more.status().message());
  }

 private:
  std::istringstream input_;
  std::unique_ptr<JsonLinesReader> reader_;
};

TEST(JsonLinesReader, TakesFeaturesByNameAndPassesOverTheRest) {
  JsonLines lines(
      "{\"pressure\": 2.5, \"flow\": -1e3, \"unit\": \"A\", \"tags\": [1, {\"a\": 2}]}\r\n"
      "\n"
      "{\"time\": \"2026-01-01\", \"flow\": null, \"pressure\": 4}");
  Row row;
  ASSERT_EQ(lines.Next(&row).value(), true);
  EXPECT_THAT(row.values, ElementsAre(-1000.0f, 2.5f));
  EXPECT_EQ(row.timestamp, "");
  EXPECT_EQ(row.number, 1u);
  ASSERT_EQ(lines.Next(&row).value(), true);
  EXPECT_THAT(row.values, ElementsAre(IsNan(), 4.0f));
  EXPECT_EQ(row.timestamp, "2026-01-01");
  EXPECT_EQ(row.number, 2u);
  EXPECT_EQ(lines.Next(&row).value(), false);
}

TEST(JsonLinesReader, TakesTheSegmentFromAMemberOfAnyRole) {
  const auto parse = [](const JsonObjectParser& parser, Row* row) {
    return parser.Parse(R"({"machine": "a", "mode": 2, "flow": 1})", row);
  };
  Row row;
  ASSERT_TRUE(parse(JsonObjectParser({"flow"}, "machine", "mode"), &row).ok());
  EXPECT_EQ(row.entity + "/" + row.segment, "a/2");
  ASSERT_TRUE(parse(JsonObjectParser({"flow"}, "machine", "machine"), &row).ok());
  EXPECT_EQ(row.entity + "/" + row.segment, "a/a");
  ASSERT_TRUE(parse(JsonObjectParser({"mode", "flow"}, "", "mode"), &row).ok());
  EXPECT_EQ(row.entity + "/" + row.segment, "/2");
  EXPECT_THAT(row.values, ElementsAre(2.0f, 1.0f));
  EXPECT_EQ(parse(JsonObjectParser({"flow"}, "", "mood"), &row).message(),
            "'mood': expected a segment, got no such member");
}

TEST(JsonLinesReader, ShowsANumberOfATimestamp) {
  JsonLines lines("{\"ts\": 17, \"flow\": 1, \"pressure\": 2}\n");
  Row row;
  ASSERT_EQ(lines.Next(&row).value(), true);
  EXPECT_EQ(row.timestamp, "17");
}

TEST(JsonLinesReader, InflatesGzip) {
  JsonLines lines(Gzip("{\"flow\": 1, \"pressure\": 2}\n"));
  Row row;
  ASSERT_EQ(lines.Next(&row).value(), true);
  EXPECT_THAT(row.values, ElementsAre(1, 2));
}

TEST(JsonLinesReader, NamesLineAndFeatureOfWhatIsNoNumber) {
  const std::string good = "{\"flow\": 1, \"pressure\": 2}\n";
  EXPECT_EQ(JsonLines(good + "\n{\"flow\": \"n/a\", \"pressure\": 2}\n").Refusal(1),
            "live.jsonl: line 3: 'flow': expected a number or null, got \"n/a\"");
  EXPECT_EQ(JsonLines("{\"flow\": 1, \"pressure\": true}\n").Refusal(),
            "live.jsonl: line 1: 'pressure': expected a number or null, got true");
  EXPECT_EQ(JsonLines("{\"flow\": 1, \"pressure\": 1e39}\n").Refusal(),
            "live.jsonl: line 1: 'pressure': expected a number or null, got 1e+39");
  EXPECT_EQ(JsonLines("{\"flow\": 1, \"pressure\": [2]}\n").Refusal(),
            "live.jsonl: line 1: 'pressure': expected a number or null, got a list");
}

TEST(JsonLinesReader, NamesAFeatureThatIsNotThere) {
  EXPECT_EQ(JsonLines("{\"flow\": 1, \"presure\": 2}\n").Refusal(),
            "live.jsonl: line 1: 'pressure': expected a number or null, got no such member");
}

TEST(JsonLinesReader, RefusesWhatIsNoObjectInOneLine) {
  for (const char* text : {"hello", "[1, 2]", "{\"flow\": 1", "{\"flow\": 1} {}", "3", "\x01\x02", "{\"flow\": NaN}"}) {
    const std::string message = JsonLines(text).Refusal();
    EXPECT_THAT(message, HasSubstr("live.jsonl: line 1: ")) << text;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

TEST(JsonLinesReader, BoundsNestingAndLines) {
  JsonLines(std::string(100'000, '[')).Refusal();
  EXPECT_THAT(JsonLines("{\"flow\": 1, \"x\": \"" + std::string(LineReader::kMaxLineBytes, 'x') + "\"}\n").Refusal(),
              HasSubstr("live.jsonl: line 1: expected at most 1048576 bytes in a line"));
}

TEST(JsonLinesReader, ReadsALineLongerThanItsBuffer) {
  JsonLines lines("{\"x\": \"" + std::string(300'000, 'x') +
                  "\", \"flow\": 1, \"pressure\": 2}\n{\"flow\": 3, \"pressure\": 4}");
  Row row;
  ASSERT_EQ(lines.Next(&row).value(), true);
  ASSERT_EQ(lines.Next(&row).value(), true);
  EXPECT_THAT(row.values, ElementsAre(3, 4));
}

TEST(JsonLinesReader, SaysThatAFileIsMissing) {
  EXPECT_EQ(JsonLinesReader::Open("none.jsonl", {"a"}).status(),
            absl::NotFoundError("none.jsonl: cannot open: No such file or directory"));
}

TEST(JsonLinesReader, StopsWaitingWhenToldTo) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const int stop = eventfd(1, 0);
  const auto reader = JsonLinesReader::Open("/proc/self/fd/" + std::to_string(ends[0]), {"a"}, stop);
  ASSERT_TRUE(reader.ok()) << reader.status();
  Row row;
  EXPECT_EQ((*reader)->Next(&row).status().code(), absl::StatusCode::kCancelled);
  close(ends[0]);
  close(ends[1]);
  close(stop);
}

}  // namespace
}  // namespace astray
