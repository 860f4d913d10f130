#include "engine/data/fasta_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <vector>

namespace astray {
namespace {

struct Outcome {
  std::vector<FastaRecord> records;
  std::string error;
};

Outcome Read(const std::string& text) {
  std::istringstream input(text);
  const auto reader = FastaReader::FromStream(&input, "reads.fasta");
  Outcome outcome;
  FastaRecord record;
  while (true) {
    const auto more = reader->Next(&record);
    if (!more.ok()) {
      EXPECT_EQ(more.status().code(), absl::StatusCode::kInvalidArgument);
      outcome.error = std::string(more.status().message());
      EXPECT_FALSE(*reader->Next(&record)) << "at its end after an error";
      return outcome;
    }
    if (!*more) return outcome;
    outcome.records.push_back(record);
  }
}

TEST(FastaReader, JoinsTheLinesOfASequence) {
  const Outcome read = Read("\n>seq1 Bacillus subtilis\r\nACGT\r\n\r\nggn-\n>seq2\nTT*\n");
  EXPECT_EQ(read.error, "");
  ASSERT_EQ(read.records.size(), 2u);
  EXPECT_EQ(read.records[0].header, "seq1 Bacillus subtilis");
  EXPECT_EQ(read.records[0].sequence, "ACGTGGN-");
  EXPECT_EQ(read.records[1].header, "seq2");
  EXPECT_EQ(read.records[1].sequence, "TT*");
}

TEST(FastaReader, TheLastLineNeedsNoBreak) {
  const Outcome read = Read(">a\nAC");
  ASSERT_EQ(read.records.size(), 1u);
  EXPECT_EQ(read.records[0].sequence, "AC");
  EXPECT_TRUE(Read("").records.empty());
}

TEST(FastaReader, ErrorsNameTheLine) {
  EXPECT_EQ(Read("ACGT\n").error, "reads.fasta: line 1: expected a line that begins with '>', got \"ACGT\"");
  EXPECT_EQ(Read(">a\nAC7T\n").error, "reads.fasta: line 2: expected letters of a sequence, got \"AC7T\"");
  EXPECT_EQ(Read(">a\n>b\nAC\n").error, "reads.fasta: line 2: expected a sequence for 'a', got none");
  EXPECT_EQ(Read(">a\nAC\n>b\n").error, "reads.fasta: line 4: expected a sequence for 'b', got none");
  EXPECT_EQ(Read(">a\nAC\n>b\n").records.size(), 1u) << "what came before the error stands";
  EXPECT_EQ(FastaReader::Open("/nowhere.fasta").status().code(), absl::StatusCode::kNotFound);
}

TEST(FastaReader, CapsLinesAndSequences) {
  EXPECT_THAT(Read(">a\n" + std::string((1 << 20) + 1, 'A')).error,
              ::testing::HasSubstr("line 2: expected at most 1048576 bytes in a line"));
  std::string text = ">a\n";
  for (int i = 0; i < 17; ++i) text += std::string(1 << 20, 'A') + "\n";
  EXPECT_EQ(Read(text).error, "reads.fasta: line 18: expected at most 16777216 letters in a sequence");
}

}  // namespace
}  // namespace astray
