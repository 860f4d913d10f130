#include "engine/data/csv_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

#include "tests/engine/data/gzip.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsNan;
using ::testing::StartsWith;

absl::StatusOr<Dataset> Read(const std::string& text, const CsvOptions& options = {}) {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "rows.csv").string();
  std::ofstream(path, std::ios::binary) << text;
  return ReadCsv(path, options);
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

TEST(CsvReader, FindsLabelsWhereAskedToUnlessTheyAreAFeature) {
  const std::string text = "a,Label\n1,0\n2,anomaly\n";
  const auto found = Read(text, {.find_labels = true});
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_THAT(found->feature_names, ElementsAre("a"));
  EXPECT_THAT(found->labels, ElementsAre(0, 1));
  const auto feature = Read("a,Label\n1,5\n", {.find_labels = true, .feature_names = {"a", "Label"}});
  ASSERT_TRUE(feature.ok()) << feature.status();
  EXPECT_THAT(feature->values, ElementsAre(1, 5));
  EXPECT_TRUE(Read("a,b\n1,5\n", {.find_labels = true})->labels.empty());
}

TEST(CsvReader, TakesTheSegmentFromAColumnOfAnyRole) {
  const auto read = [](const CsvOptions& options, Row* row) {
    std::istringstream input("machine,mode,flow\na,2,7\n");
    const auto reader = CsvReader::FromStream(&input, "rows.csv", options);
    return reader.ok() ? (*reader)->Next(row).status() : reader.status();
  };
  Row row;
  ASSERT_TRUE(read({.entity_column = "machine", .segment_column = "mode"}, &row).ok());
  EXPECT_EQ(row.entity + "/" + row.segment, "a/2");
  EXPECT_THAT(row.values, ElementsAre(7)) << "no feature, unless it is asked for as one";
  ASSERT_TRUE(read({.entity_column = "machine", .segment_column = "machine", .feature_names = {"flow"}}, &row).ok());
  EXPECT_EQ(row.entity + "/" + row.segment, "a/a");
  ASSERT_TRUE(read({.segment_column = "mode", .feature_names = {"mode", "flow"}}, &row).ok());
  EXPECT_EQ(row.segment, "2");
  EXPECT_THAT(row.values, ElementsAre(2, 7));
  EXPECT_THAT(std::string(read({.segment_column = "mood"}, &row).message()),
              HasSubstr("column 'mood': not in the header"));
}

TEST(CsvReader, KeepsTheSegmentOfEachRow) {
  const auto data =
      Read("machine,flow,label\na,1,0\nb,2,0\n,3,1\n\"b\",4,0\n,5,0\n",
           {.find_labels = true, .entity_column = "machine", .segment_column = "machine", .normal_only = true});
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(data->feature_names, ElementsAre("flow"));
  ASSERT_EQ(data->segments.size(), 4u);
  EXPECT_EQ(data->segments[0] + "," + data->segments[1] + "," + data->segments[2] + "," + data->segments[3], "a,b,b,");
  EXPECT_EQ(data->entities.size(), 4u);
  EXPECT_TRUE(Read("machine,flow\na,1\n", {.entity_column = "machine"})->segments.empty());
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

TEST(CsvReader, ReadsEveryFloatAndRefusesWhatRoundsToNone) {
  const auto data = Read("a\n3.4028235e38\n-3.4028235e38\n.5\n5.\n1e-50\n0." + std::string(400, '0') + "1\n");
  ASSERT_TRUE(data.ok()) << data.status();
  constexpr float kMax = std::numeric_limits<float>::max();
  EXPECT_THAT(data->values, ElementsAre(kMax, -kMax, 0.5f, 5.0f, 0.0f, 0.0f));
  for (const std::string cell : {"3.4028236e38", "1e400", "-1e400", "+-5", "--5", "0x10", "1,", "1 2", "infinity"}) {
    EXPECT_FALSE(Read("a\n1\n" + cell + "\n").ok()) << cell;
  }
  // Too large although its exponent is negative.
  EXPECT_THAT(Refusal("a\n1\n1" + std::string(400, '0') + "e-1\n"), HasSubstr("expected a number, got \"1000"));
}

TEST(CsvReader, ShowsNamesInOneShortLine) {
  const std::string refusal = Refusal("\"two\nlines\x1b[31m\"," + std::string(5000, 'n') + "\nx,1\n");
  EXPECT_THAT(refusal, StartsWith("column 'two\\nlines\\033[31m' row 1: "));
  EXPECT_THAT(Refusal(std::string(5000, 'n') + "\nx\n"), StartsWith("column '" + std::string(40, 'n') + "...' row 1"));
  std::string header = "c0";
  for (int i = 1; i < 60000; ++i) header += ",c" + std::to_string(i);
  EXPECT_THAT(Refusal(header + "\n", {.label_column = "label"}), EndsWith("c10, c11, ... (60000 in all)"));
}

TEST(CsvReader, SaysWhenAnotherSeparatorIsUsed) {
  EXPECT_EQ(Refusal("a;b\n1;2\n"), "header: expected columns separated by commas, got semicolons");
  EXPECT_EQ(Refusal("a\tb\n1\t2\n"), "header: expected columns separated by commas, got tabs");
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
  EXPECT_THAT(Read("a,b\n1,5\n")->values, ElementsAre(1, 5));
  const auto data = Read("a,constant,empty\n1,5,\n2,5,\n");
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(data->values, ElementsAre(1, 5, IsNan(), 2, 5, IsNan()));
}

TEST(CsvReader, PassesOverBlankLinesButNotOverAnEmptyCellInQuotes) {
  const auto data = Read("a\n1\n\n\"\"\n2\n");
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(data->values, ElementsAre(1, IsNan(), 2));
}

TEST(CsvReader, CapsLinesColumnsAndValues) {
  EXPECT_THAT(Refusal("a\n" + std::string(2 << 20, '1') + "\n"), HasSubstr("line 2: expected at most 1048576 bytes"));
  EXPECT_THAT(Refusal("a\n\"" + std::string(2 << 20, '\n')), HasSubstr("expected at most 1048576 bytes"));
  EXPECT_THAT(Refusal(std::string(70000, ',') + "\n"), HasSubstr("expected at most 65536 columns"));
  EXPECT_THAT(Refusal("a,b\n1,2\n3,4\n5,6\n", {.max_values = 4}), HasSubstr("row 3: expected at most 4 values"));
  // Text that is kept counts too: a timestamp of 400 bytes is worth a hundred values.
  const std::string line = std::string(400, 't') + ",1\n";
  EXPECT_THAT(Refusal("time,a\n" + line + line + line, {.max_values = 250}), HasSubstr("row 3: expected at most 250"));
  // A gzip bomb: 64 MiB of one line in some kilobytes.
  EXPECT_THAT(Refusal(Gzip("a\n" + std::string(64 << 20, '1'))), HasSubstr("expected at most 1048576 bytes"));
  std::string rows = "a\n";
  for (int i = 0; i < 1 << 20; ++i) rows += "1\n";
  EXPECT_THAT(Refusal(Gzip(rows), {.max_values = 1 << 16}), HasSubstr("row 65537: expected at most 65536 values"));
  // Into scratch files it goes as far as the reserve of their disk.
  const Scratch scratch(std::filesystem::current_path().string(), 1 << 20, /*reserve_bytes=*/size_t{1} << 60);
  const absl::Status refused = Read(Gzip(rows), {.scratch = scratch}).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("MiB have to stay free; --scratch-dir names another folder"));
}

TEST(CsvReader, RefusesBinaryBytesAndOpenQuotes) {
  EXPECT_EQ(Refusal(std::string("a\n1\0\n", 5)), "line 2: expected text, got a NUL byte");
  EXPECT_EQ(Refusal("a\n\"1\n2"), "line 2: expected a closing quote");
  EXPECT_EQ(Refusal("a,b\n1,5\"\n2,6\"\n"),
            "line 2: column 2: expected a cell with quotes in it to be quoted as a whole");
  EXPECT_EQ(Refusal("a,b\n\"1\"x,2\n"), "line 2: column 1: expected a comma after a closing quote");
}

TEST(CsvReader, IsAtItsEndAfterAnError) {
  std::istringstream text("a\n1\nx\n2\n");
  auto reader = *CsvReader::FromStream(&text, "t.csv", {});
  Row row;
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
