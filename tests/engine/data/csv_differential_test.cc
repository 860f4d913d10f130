// The reader against a plain one, on bytes that are nearly CSV: whole, and cut into pieces of any size.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <sstream>

#include "engine/base/random.h"
#include "engine/data/csv_reader.h"
#include "tests/engine/data/csv_reference.h"

namespace astray {
namespace {

constexpr size_t kTexts = 20'000;

std::string RandomCell(Random& random) {
  static const std::vector<std::string> kCells = {"1",
                                                  "-0",
                                                  "12.5",
                                                  "0.1",
                                                  "-3.4028235e38",
                                                  "1e39",
                                                  "1e-50",
                                                  "\"7\"",
                                                  "\"1\"\"2\"",
                                                  "\"\n3\"",
                                                  "",
                                                  "NaN",
                                                  "na",
                                                  "x",
                                                  "1.",
                                                  ".5",
                                                  ".",
                                                  "-",
                                                  "+2",
                                                  "+-2",
                                                  " 4 ",
                                                  "1e5",
                                                  "1E-3",
                                                  "1e",
                                                  "1e+",
                                                  "\"5",
                                                  "6\"",
                                                  "\"\"",
                                                  "8\r",
                                                  "inf",
                                                  "-nan",
                                                  "?",
                                                  "\"a,b\"",
                                                  "9e22",
                                                  "123456789012",
                                                  "0.30000000000000004",
                                                  "16777217",
                                                  "1234567890123456789012",
                                                  "\"-1.5\"",
                                                  "0000000001.250000000",
                                                  "8.5000000000000000000000001",
                                                  "9007199254740993",
                                                  "1e-400",
                                                  "1e400"};
  if (random.UniformInt(3) > 0) return std::to_string(random.Normal() * 100).substr(0, 3 + random.UniformInt(6));
  return kCells[random.UniformInt(kCells.size())];
}

std::string RandomCsv(Random& random, size_t columns) {
  std::string text;
  for (size_t j = 0; j < columns; ++j) text += (j == 0 ? "c" : ",c") + std::to_string(j);
  text += '\n';
  const bool mostly_good = random.UniformInt(4) > 0;
  for (size_t rows = 1 + random.UniformInt(12); rows > 0; --rows) {
    for (size_t j = 0; j < columns; ++j) {
      if (j > 0) text += ',';
      text += mostly_good && random.UniformInt(30) > 0 ? std::to_string(random.Normal() * 10).substr(0, 7)
                                                       : RandomCell(random);
    }
    const uint64_t end = random.UniformInt(12);
    text += end == 0 ? "\r\n" : end == 1 ? "\n\n" : end == 2 ? "\n\r\n" : end == 3 && rows == 1 ? "" : "\n";
  }
  if (random.UniformInt(5) == 0) {  // a byte somewhere behind the header
    const size_t header = text.find('\n') + 1;
    const std::string bytes("\0\"\r\n, e9.-", 10);
    text.insert(header + random.UniformInt(text.size() - header + 1), 1, bytes[random.UniformInt(bytes.size())]);
  }
  return text;
}

void ExpectSame(const ReferenceCsv& expected, const std::vector<float>& values, bool refused, const std::string& text) {
  ASSERT_EQ(refused, expected.refused) << testing::PrintToString(text);
  ASSERT_EQ(values.size(), expected.values.size()) << testing::PrintToString(text);
  for (size_t i = 0; i < values.size(); ++i) {
    const bool same = (std::isnan(values[i]) && std::isnan(expected.values[i])) ||
                      std::memcmp(&values[i], &expected.values[i], sizeof(float)) == 0;
    ASSERT_TRUE(same) << values[i] << " for " << expected.values[i] << " in " << testing::PrintToString(text);
  }
}

TEST(CsvReader, ReadsWhatAPlainReaderReads) {
  Random random(1);
  size_t good = 0, bad = 0;
  for (size_t i = 0; i < kTexts; ++i) {
    const size_t columns = 1 + random.UniformInt(5);
    const std::string text = RandomCsv(random, columns);
    const ReferenceCsv expected = ReadReferenceCsv(text, columns);
    std::istringstream input(text);
    const auto reader = CsvReader::FromStream(&input, "f.csv", {});
    ASSERT_TRUE(reader.ok()) << reader.status();
    std::vector<float> values;
    Row row;
    absl::StatusOr<bool> more;
    while ((more = (*reader)->Next(&row)).ok() && *more) {
      values.insert(values.end(), row.values.begin(), row.values.end());
      ASSERT_EQ(row.number * columns, values.size());
    }
    ++(more.ok() ? good : bad);
    ExpectSame(expected, values, !more.ok(), text);
    if (testing::Test::HasFatalFailure()) return;
  }
  EXPECT_GT(good, kTexts / 10) << "both kinds are there";
  EXPECT_GT(bad, kTexts / 10);
}

// All rows and the error at the end of `next`.
struct Outcome {
  std::vector<float> values;
  std::vector<uint64_t> numbers;
  absl::Status status;
};

Outcome ReadAll(const std::function<absl::StatusOr<bool>(Row*)>& next) {
  Outcome outcome;
  Row row;
  absl::StatusOr<bool> more;
  while ((more = next(&row)).ok() && *more) {
    outcome.values.insert(outcome.values.end(), row.values.begin(), row.values.end());
    outcome.numbers.push_back(row.number);
  }
  outcome.status = more.status();
  return outcome;
}

// Pieces in turn, each read from where the one before ended.
TEST(CsvReader, PiecesGiveTheRowsAndTheErrorOfTheWhole) {
  Random random(2);
  for (size_t i = 0; i < kTexts; ++i) {
    const size_t columns = 1 + random.UniformInt(5);
    const std::string text = RandomCsv(random, columns);
    std::istringstream whole_input(text), input(text);
    const auto whole = CsvReader::FromStream(&whole_input, "f.csv", {});
    const auto cutter = CsvReader::FromStream(&input, "f.csv", {});
    ASSERT_TRUE(whole.ok() && cutter.ok());
    const auto reader = (*cutter)->ForPieces();
    const size_t bytes = 1 + random.UniformInt(60);
    CsvPlace place = (*cutter)->place();
    CsvPiece piece;
    bool loaded = false;
    const Outcome got = ReadAll([&](Row* row) -> absl::StatusOr<bool> {
      for (;;) {
        if (loaded) {
          const absl::StatusOr<bool> more = reader->Next(row);
          if (!more.ok() || *more) return more;
          place = reader->place();
        }
        const absl::StatusOr<bool> cut = (*cutter)->NextPiece(bytes, &piece);
        if (!cut.ok() || !*cut) return cut;
        reader->Load(&piece, place);
        loaded = true;
      }
    });
    const Outcome expected = ReadAll([&](Row* row) { return (*whole)->Next(row); });
    ASSERT_EQ(got.status, expected.status) << bytes << " " << testing::PrintToString(text);
    ASSERT_EQ(got.numbers, expected.numbers) << testing::PrintToString(text);
    ExpectSame({.values = expected.values}, got.values, false, text);
    if (testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace astray
