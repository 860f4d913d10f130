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
#include <functional>
#include <istream>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/data/dataset.h"
#include "engine/data/row.h"

namespace astray {

struct CsvOptions {
  std::string timestamp_column;  // default: a column named timestamp, time, datetime, date or ts (any case)
  std::string label_column;      // default: none. Values 0/1, true/false, normal/anomaly
  bool find_labels = false;    // without label_column: a column named label (any case) has them, unless it is a feature
  std::string culprit_column;  // default: none
  std::string entity_column;   // default: none
  std::string segment_column;  // default: none. It may have another role, too: entity, feature
  // Columns read as text and dropped.
  std::vector<std::string> ignore_columns;
  // If set: exactly these features, in this order, picked by name; other columns are dropped.
  // A missing one is an error that lists it and the columns that the file has.
  std::vector<std::string> feature_names;
  size_t max_line_bytes = 1 << 20;
  size_t max_columns = 1 << 16;
  // rows x features, four bytes of text kept counting as one more; 1 GiB. For ReadCsv: a CsvReader keeps one row.
  size_t max_values = size_t{1} << 28;
  int stop_fd = -1;     // ByteSource's
  bool follow = false;  // the same. A line equal to the header, a new file's first, is passed over
};

class CsvReader {
 public:
  // Reads the header. "-" is standard input.
  static absl::StatusOr<std::unique_ptr<CsvReader>> Open(const std::string& path, const CsvOptions& options);
  // Reads from `input`, which must outlive the reader; `name` is used in errors.
  static absl::StatusOr<std::unique_ptr<CsvReader>> FromStream(std::istream* input, const std::string& name,
                                                               const CsvOptions& options);
  virtual ~CsvReader() = default;

  // False at the end. After an error the reader is at its end.
  virtual absl::StatusOr<bool> Next(Row* row) = 0;

  virtual const std::vector<std::string>& feature_names() const = 0;
  virtual bool has_timestamps() const = 0;
  virtual bool has_labels() const = 0;
};

// The whole file. InvalidArgument where it has no rows.
absl::StatusOr<Dataset> ReadCsv(const std::string& path, const CsvOptions& options);

}  // namespace astray
