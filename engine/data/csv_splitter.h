// Cuts bytes into CSV records and their cells (RFC 4180). Memory is bounded by max_line_bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/data/byte_source.h"

namespace astray {

// Whole records of a CSV, not looked at: for one of several threads that read a file together.
struct CsvPiece {
  std::vector<char> bytes;  // more than are used, so that a piece can be filled again
  size_t size = 0;
};

class CsvSplitter {
 public:
  // source: null for a splitter of pieces.
  CsvSplitter(std::unique_ptr<ByteSource> source, size_t max_line_bytes, size_t max_columns);

  // The cells of the next record that is not blank; valid until the next call. False at the end.
  // InvalidArgument names the line (from 1): too long, too many columns, NUL bytes, a quote that never ends or that
  // begins in the middle of a cell.
  absl::StatusOr<bool> Next(std::vector<absl::string_view>* cells);

  uint64_t line() const { return line_; }  // where the last record began
  uint64_t next_line() const { return next_line_; }

  // What Next would look at next, with a NUL byte and kShortDecimalSlack bytes behind it: a record that is all in there
  // may be read in place. Passed then has the record's end, behind its newline.
  const char* buffered() const { return buffer_.data() + begin_; }
  void Passed(const char* end) {
    begin_ = static_cast<size_t>(end - buffer_.data());
    line_ = next_line_++;
  }

  // Instead of Next: about as many bytes, cut behind a record; more where a record is longer. False at the end.
  absl::StatusOr<bool> NextPiece(size_t bytes, CsvPiece* piece);
  // Of a splitter of pieces: what Next cuts now. line: of its first byte. The buffers are exchanged.
  void Load(CsvPiece* piece, uint64_t line);
  // Of a splitter of pieces: begins the piece again.
  void Rewind(uint64_t line) {
    begin_ = 0;
    line_ = next_line_ = line;
  }

 private:
  void Mark() { buffer_[end_] = '\0'; }                    // of the bytes' end
  absl::StatusOr<bool> NextLine(absl::string_view* line);  // up to a newline outside quotes
  absl::Status SplitQuoted(absl::string_view line, std::vector<absl::string_view>* cells);

  std::unique_ptr<ByteSource> source_;
  size_t max_line_bytes_, max_columns_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;
  bool at_end_ = false;
  uint64_t line_ = 0, next_line_ = 1;
  std::string unquoted_;  // cells that were quoted, without their quotes
};

}  // namespace astray
