// What a CSV's header makes of its columns, and how a cell of each is read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/data/csv_options.h"
#include "engine/data/row.h"

namespace astray {

// Errors are InvalidArgument and do not name the file. Not thread-safe.
class CsvColumns {
 public:
  static absl::StatusOr<CsvColumns> FromHeader(const std::vector<absl::string_view>& cells, const CsvOptions& options);

  size_t size() const { return columns_.size(); }
  const std::vector<std::string>& feature_names() const { return feature_names_; }
  bool has_timestamps() const { return HasRole(Role::kTimestamp); }
  bool has_labels() const { return HasRole(Role::kLabel); }

  // Reads a cell, with white space around it or without, into `values` [features] or `text`'s other fields.
  absl::Status Read(size_t column, absl::string_view cell, uint64_t row, float* values, Row* text);

  // Reads a record of cells without line breaks, doubled quotes and NUL bytes from `record`, which has a NUL byte
  // and kShortDecimalSlack bytes behind it. Returns what is behind its newline; null for any other record,
  // whether it is good or not: that is Read's to say, cell by cell.
  const char* ReadPlain(const char* record, float* values, Row* text);

  // Whether a line is the header again; an error where it is another header. row: the line's number, if it is a row.
  absl::StatusOr<bool> IsHeader(const std::vector<absl::string_view>& cells, uint64_t row) const;

  // Which columns had a number so far: errors tell of it. As a whole, for readers of one file's pieces.
  const std::vector<uint8_t>& numbers_seen() const { return numbers_seen_; }
  void set_numbers_seen(std::vector<uint8_t> seen) {  // none seen: empty
    numbers_seen_ = std::move(seen);
    numbers_seen_.resize(size());
  }

 private:
  enum class Role : uint8_t { kFeature, kTimestamp, kLabel, kCulprits, kEntity, kSegment, kDropped };
  struct Column {
    std::string name;
    Role role = Role::kFeature;
    bool segment = false;  // beside its role
    uint32_t feature = 0;  // position among the features
  };
  // What ReadPlain needs of a column, side by side.
  struct Plan {
    uint32_t feature;
    bool number;   // nothing but a feature
    bool dropped;  // nothing at all
  };

  absl::Status AssignRoles(const CsvOptions& options);
  absl::Status Assign(const std::string& name, Role role, const CsvOptions& options);
  absl::Status SelectFeatures(const std::vector<std::string>& names);
  const char* ReadPlainCell(size_t column, const char* cell, float* values, Row* text);
  bool HasRole(Role role) const;
  std::string List() const;

  std::vector<Column> columns_;
  std::vector<Plan> plans_;
  std::vector<uint8_t> numbers_seen_;
  std::vector<std::string> feature_names_;
};

}  // namespace astray
