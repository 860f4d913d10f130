#include "engine/data/csv_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/engine/data/gzip.h"

namespace astray {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

absl::StatusOr<Dataset> Read(const std::string& text, const CsvOptions& options = {}) {
  const std::string path = ::testing::TempDir() + "/csv_reader_test_" + std::to_string(getpid()) + ".csv";
  std::ofstream(path, std::ios::binary) << text;
  auto dataset = ReadCsv(path, options);
  std::filesystem::remove(path);
  return dataset;
}

// The message without the path before it.
std::string Refusal(const std::string& text, const CsvOptions& options = {}) {
  const auto dataset = Read(text, options);
  EXPECT_EQ(dataset.status().code(), absl::StatusCode::kInvalidArgument) << dataset.status();
  const std::string message(dataset.status().message());
  EXPECT_THAT(message, HasSubstr(".csv: "));
  return message.substr(message.find(".csv: ") + 6);
}

TEST(CsvReader, TellsFeaturesTimestampAndLabelApart) {
  const auto data = Read("Time,flow, pressure ,label\n2026,1.5,-2e3,0\n2027,+3,4,anomaly\n", {.label_column = "label"});
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(data->feature_names, ElementsAre("flow", "pressure"));
  EXPECT_THAT(data->values, ElementsAre(1.5f, -2000.0f, 3.0f, 4.0f));
  EXPECT_THAT(data->timestamps, ElementsAre("2026", "2027"));
  EXPECT_THAT(data->labels, ElementsAre(0, 1));
  EXPECT_EQ(data->rows(), 2u);
}

TEST(CsvReader, ReadsQuotesCarriageReturnsBlankLinesAndAByteOrderMark) {
  const auto data = Read("\xef\xbb\xbf\"a,b\",\"c \"\"d\"\"\"\r\n\r\n\"1\",2\r\n3,\"4\"");
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(data->feature_names, ElementsAre("a,b", "c \"d\""));
  EXPECT_THAT(data->values, ElementsAre(1, 2, 3, 4));
}

TEST(CsvReader, KeepsANewlineInsideQuotes) {
  const auto data = Read("note,a\n\"two\nlines\",1\nx,2\n", {.ignore_columns = {"note"}});
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(data->values, ElementsAre(1, 2));
}

TEST(CsvReader, TakesEmptyAndNamedMissingValuesAsNaN) {
  const auto data = Read("a,b\n,NA\nnan,null\n?,NaN\n1,1e-400\n");
  ASSERT_TRUE(data.ok()) << data.status();
  for (size_t i = 0; i < 6; ++i) EXPECT_TRUE(std::isnan(data->values[i])) << i;
}

TEST(CsvReader, InflatesGzip) {
  EXPECT_THAT(Read(Gzip("a\n1\n2\n"))->values, ElementsAre(1, 2));
  EXPECT_THAT(Refusal(Gzip("a\n1\n2\n").substr(0, 18)), HasSubstr("cut off"));
}

TEST(CsvReader, PicksFeaturesByNameInTheOrderAskedFor) {
  const auto data = Read("x,b,a,text\n1,2,3,no\n", {.feature_names = {"a", "b"}});
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(data->feature_names, ElementsAre("a", "b"));
  EXPECT_THAT(data->values, ElementsAre(3, 2));
  EXPECT_EQ(Refusal("x,b\n1,2\n", {.feature_names = {"a", "b", "c"}}), "header: expected the columns a, c, got x, b");
}

TEST(CsvReader, NamesColumnRowAndCellOfTextAmongNumbers) {
  EXPECT_EQ(Refusal("a,flow\n1,2\n3,n/a\n"), "column 'flow' row 2: expected a number, got \"n/a\"");
  EXPECT_EQ(Refusal("a,status\n1,ok\n"),
            "column 'status' row 1: expected a number, got \"ok\" (--ignore-columns=status leaves the column out)");
  EXPECT_EQ(Refusal("a\n1\n1.2.3\n"), "column 'a' row 2: expected a number, got \"1.2.3\"");
  EXPECT_EQ(Refusal("a\n1\ninf\n"), "column 'a' row 2: expected a number, got \"inf\"");
  EXPECT_EQ(Refusal("a\n1\n1e39\n"), "column 'a' row 2: expected a number, got \"1e39\"");
  EXPECT_THAT(Refusal("a\n1\n" + std::string(500, 'z') + "\x01\n"),
              HasSubstr("got \"" + std::string(40, 'z') + "...\""));
  EXPECT_THAT(Refusal("a\n1\n\x01\x02\n"), HasSubstr("\\001\\002"));
}

TEST(CsvReader, RefusesRowsThatAreNotAsWideAsTheHeader) {
  EXPECT_EQ(Refusal("a,b\n1,2\n1,2,3\n"), "row 2: expected 2 columns, got 3");
  EXPECT_EQ(Refusal("a,b\n1\n"), "row 1: expected 2 columns, got 1");
}

TEST(CsvReader, RefusesAFileWithoutRowsOrHeader) {
  EXPECT_EQ(Refusal("a,b\n"), "expected rows, got a header alone");
  EXPECT_EQ(Refusal(""), "expected a header line, got an empty file");
  EXPECT_EQ(Refusal("a,,b\n1,2,3\n"), "header: column 2: expected a name, got none");
  EXPECT_EQ(Refusal("a,b,a\n1,2,3\n"), "header: column \"a\" is there twice");
  EXPECT_THAT(Refusal("time\n1\n"), StartsWith("header: expected at least one feature"));
}

TEST(CsvReader, NamesAColumnThatIsNotThere) {
  EXPECT_EQ(Refusal("a,b\n1,2\n", {.label_column = "label"}), "column 'label': not in the header, which has a, b");
  EXPECT_EQ(Refusal("a,label\n1,maybe\n", {.label_column = "label"}),
            "column 'label' row 1: expected a label (0, 1, normal, anomaly), got \"maybe\"");
}

TEST(CsvReader, MissingFileIsNotFound) {
  EXPECT_EQ(ReadCsv("/none/such.csv", {}).status().code(), absl::StatusCode::kNotFound);
}

TEST(CsvReader, ReadsOneRowAndConstantAndEmptyColumns) {
  const auto data = Read("a,b,c\n1,5,\n");
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->rows(), 1u);
  EXPECT_TRUE(std::isnan(data->values[2]));
}

TEST(CsvReader, CapsLinesColumnsAndValues) {
  EXPECT_THAT(Refusal("a\n" + std::string(2 << 20, '1') + "\n"), HasSubstr("line 2: expected at most 1048576 bytes"));
  EXPECT_THAT(Refusal("a\n\"" + std::string(2 << 20, '\n')), HasSubstr("expected at most 1048576 bytes"));
  EXPECT_THAT(Refusal(std::string(70000, ',') + "\n"), HasSubstr("expected at most 65536 columns"));
  EXPECT_THAT(Refusal("a,b\n1,2\n3,4\n5,6\n", {.max_values = 4}), HasSubstr("row 3: expected at most 4 values"));
  // A gzip bomb: 64 MiB of one line in some kilobytes.
  EXPECT_THAT(Refusal(Gzip("a\n" + std::string(64 << 20, '1'))), HasSubstr("expected at most 1048576 bytes"));
}

TEST(CsvReader, RefusesBinaryBytesAndOpenQuotes) {
  EXPECT_EQ(Refusal(std::string("a\n1\0\n", 5)), "line 2: expected text, got a NUL byte");
  EXPECT_EQ(Refusal("a\n\"1\n2"), "line 2: expected a closing quote");
  EXPECT_EQ(Refusal("a,b\n\"1\"x,2\n"), "line 2: column 1: expected a comma after a closing quote");
}

TEST(CsvReader, IsAtItsEndAfterAnError) {
  std::istringstream text("a\n1\nx\n2\n");
  auto reader = *CsvReader::FromStream(&text, "t.csv", {});
  CsvRow row;
  EXPECT_TRUE(*reader->Next(&row));
  EXPECT_FALSE(reader->Next(&row).ok());
  EXPECT_FALSE(*reader->Next(&row));
}

TEST(CsvReader, CrossesItsBufferAnywhere) {
  std::string text = "a,b\n";
  for (int i = 0; i < 100000; ++i) text += std::to_string(i) + "," + std::to_string(-i) + "\n";
  const auto data = Read(text);
  ASSERT_TRUE(data.ok()) << data.status();
  ASSERT_EQ(data->rows(), 100000u);
  for (size_t i = 0; i < data->rows(); ++i) ASSERT_EQ(data->values[2 * i], static_cast<float>(i));
}

}  // namespace
}  // namespace astray
