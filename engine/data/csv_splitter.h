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

class CsvSplitter {
 public:
  CsvSplitter(std::unique_ptr<ByteSource> source, size_t max_line_bytes, size_t max_columns);

  // The cells of the next record that is not blank; valid until the next call. False at the end.
  // InvalidArgument names the line (from 1): too long, too many columns, NUL bytes, a quote that never ends or that
  // begins in the middle of a cell.
  absl::StatusOr<bool> Next(std::vector<absl::string_view>* cells);

  uint64_t line() const { return line_; }  // where the last record began

 private:
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
