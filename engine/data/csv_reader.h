// Reads CSV (RFC 4180; gzip by its magic bytes, whatever the name) with a header line, one row at a time or whole.
// The bytes are untrusted: lines, columns and what is kept of them are capped, before and after inflating.
//
// A feature cell is a decimal number, or missing: empty, NA, NaN, null, ? (any case). inf is refused, and so is a
// number outside float's range. Blank lines are passed over; the only column's missing value is therefore NaN or "".
// Errors are InvalidArgument (NotFound for a missing file) and name the place:
//   flow.csv: column 'flow' row 812: expected a number, got "n/a"
//   flow.csv: row 9: expected 8 columns, got 7
#pragma once

#include <cstddef>
#include <cstdint>
#include <istream>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/data/byte_source.h"
#include "engine/data/csv_columns.h"
#include "engine/data/csv_options.h"
#include "engine/data/csv_splitter.h"
#include "engine/data/dataset.h"
#include "engine/data/row.h"

namespace astray {

// How far a file was read, by what its pieces' readers have to know of those before.
struct CsvPlace {
  uint64_t rows = 0;
  uint64_t line = 2;                  // the next one, from 1: there is a header before it
  std::vector<uint8_t> numbers_seen;  // CsvColumns'; empty: none
};

class CsvReader {
 public:
  // Reads the header. "-" is standard input.
  static absl::StatusOr<std::unique_ptr<CsvReader>> Open(const std::string& path, const CsvOptions& options);
  // Reads from `input`, which must outlive the reader; `name` is used in errors.
  static absl::StatusOr<std::unique_ptr<CsvReader>> FromStream(std::istream* input, const std::string& name,
                                                               const CsvOptions& options);

  // False at the end. After an error the reader is at its end.
  absl::StatusOr<bool> Next(Row* row);
  // The same with the values elsewhere, [feature_names().size()]; row->values stays as it is.
  absl::StatusOr<bool> Next(float* values, Row* row);

  // Instead of Next, to read with several threads: NextPiece gives records unread; readers made by ForPieces, one a
  // thread, are loaded with them, one after the other, and read them to the end. Not for a followed file.
  absl::StatusOr<bool> NextPiece(size_t bytes, CsvPiece* piece) { return Located(splitter_.NextPiece(bytes, piece)); }
  std::unique_ptr<CsvReader> ForPieces() const;
  // The buffers of `piece` are exchanged. Errors and row numbers count on from `place`.
  void Load(CsvPiece* piece, const CsvPlace& place);
  CsvPlace place() const {
    return {.rows = row_, .line = splitter_.next_line(), .numbers_seen = columns_.numbers_seen()};
  }
  // As it was loaded, from another place.
  void Reload(const CsvPlace& place);

  const std::vector<std::string>& feature_names() const { return columns_.feature_names(); }
  bool has_timestamps() const { return columns_.has_timestamps(); }
  bool has_labels() const { return columns_.has_labels(); }

 private:
  CsvReader(std::unique_ptr<ByteSource> source, std::string name, const CsvOptions& options);
  static absl::StatusOr<std::unique_ptr<CsvReader>> Start(std::unique_ptr<ByteSource> source, const std::string& name,
                                                          const CsvOptions& options);
  absl::StatusOr<bool> NextRecord(float* values, Row* row);
  absl::Status Error(absl::string_view text) const;
  absl::Status Located(const absl::Status& status) const;
  template <typename T>
  absl::StatusOr<T> Located(absl::StatusOr<T> result) const {
    if (!result.ok()) return Located(result.status());
    return result;
  }

  std::string name_;
  size_t max_line_bytes_, max_columns_;
  CsvSplitter splitter_;
  CsvColumns columns_;
  std::vector<absl::string_view> cells_;
  uint64_t row_ = 0;
  bool follow_ = false;
  bool failed_ = false;
};

// The whole file. InvalidArgument where it has no rows. ResourceExhausted and others of a scratch (scratch_file.h).
absl::StatusOr<Dataset> ReadCsv(const std::string& path, const CsvOptions& options);

}  // namespace astray
