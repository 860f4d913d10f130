// Reads JSON lines (gzip by its magic bytes): one object a line, features by name, one row at a time.
//
//   {"timestamp": "2026-01-01T00:00:07Z", "flow": 12.5, "pressure": null}
//
// null is a missing value; every feature must be there. Other members are passed over, but for the first that is called
// timestamp, time, datetime, date or ts. Blank lines are passed over. The bytes are untrusted: lines are capped, and so
// is their nesting. Errors are InvalidArgument (NotFound for a missing file) and name line and feature:
//   live.jsonl: line 7: 'flow': expected a number or null, got "n/a"
#pragma once

#include <cstddef>
#include <cstdint>
#include <istream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/data/byte_source.h"
#include "engine/data/json_object_parser.h"
#include "engine/data/line_reader.h"
#include "engine/data/row.h"

namespace astray {

class JsonLinesReader {
 public:
  // "-" is standard input; stop_fd and follow are ByteSource's. `feature_names`: what a row has, in this order.
  // `entity_member`: the member that says whose row it is, a string or a number; empty for none. `segment_member`:
  // JsonObjectParser's.
  static absl::StatusOr<std::unique_ptr<JsonLinesReader>> Open(const std::string& path,
                                                               const std::vector<std::string>& feature_names,
                                                               int stop_fd = -1, const std::string& entity_member = "",
                                                               bool follow = false,
                                                               const std::string& segment_member = "");
  // Reads from `input`, which must outlive the reader; `name` is used in errors.
  static std::unique_ptr<JsonLinesReader> FromStream(std::istream* input, const std::string& name,
                                                     const std::vector<std::string>& feature_names);

  // False at the end. After an error the reader is at its end.
  absl::StatusOr<bool> Next(Row* row);

 private:
  JsonLinesReader(std::unique_ptr<ByteSource> source, std::string name, JsonObjectParser parser)
      : lines_(std::move(source), std::move(name)), parser_(std::move(parser)) {}

  LineReader lines_;
  JsonObjectParser parser_;
  uint64_t row_ = 0;
};

}  // namespace astray
