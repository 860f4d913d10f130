#include "engine/data/csv_reader.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/charconv.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "engine/base/shown_text.h"
#include "engine/base/status_macros.h"
#include "engine/data/cell.h"
#include "engine/data/csv_splitter.h"

namespace astray {
namespace {

enum class Role { kFeature, kTimestamp, kLabel, kCulprits, kEntity, kSegment, kDropped };

struct Column {
  std::string name;
  Role role = Role::kFeature;
  size_t feature = 0;       // position among the features
  bool segment = false;     // beside its role
  bool has_number = false;  // whether a number was seen, for the hint of an error
};

bool IsMissing(absl::string_view cell) {
  static constexpr std::array<absl::string_view, 4> kMissing = {"na", "nan", "null", "?"};
  if (cell.empty()) return true;
  // Numbers begin otherwise: the common case ends here.
  if (!absl::ascii_isalpha(cell.front()) && cell.front() != '?' && cell.front() != '-') return false;
  if (cell == "-nan") return true;
  return std::any_of(kMissing.begin(), kMissing.end(),
                     [&](absl::string_view word) { return absl::EqualsIgnoreCase(cell, word); });
}

std::string Quoted(absl::string_view cell) { return absl::StrCat("\"", ShownText(cell), "\""); }

std::string NameList(const std::vector<absl::string_view>& names) {
  constexpr size_t kMost = 12;
  const auto last = names.begin() + static_cast<ptrdiff_t>(std::min(kMost, names.size()));
  const std::string list = absl::StrJoin(names.begin(), last, ", ", [](std::string* out, absl::string_view name) {
    absl::StrAppend(out, ShownText(name));
  });
  return names.size() > kMost ? absl::StrCat(list, ", ... (", names.size(), " in all)") : list;
}

bool ParseFloat(absl::string_view cell, float* value) {
  if (absl::ConsumePrefix(&cell, "+") && absl::StartsWith(cell, "-")) return false;
  double number = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), number);
  if (end != cell.data() + cell.size()) return false;
  if (error == std::errc::result_out_of_range) {
    // Too small for a double is as good as zero, too large is no reading; Abseil tells one from the other.
    absl::from_chars(cell.data(), cell.data() + cell.size(), number);
  } else if (error != std::errc()) {
    return false;
  }
  return ToFloat(number, value);
}

class CsvReaderImpl final : public CsvReader {
 public:
  CsvReaderImpl(std::unique_ptr<ByteSource> source, std::string name, const CsvOptions& options)
      : name_(std::move(name)), splitter_(std::move(source), options.max_line_bytes, options.max_columns) {}

  absl::Status ReadHeader(const CsvOptions& options);
  absl::StatusOr<bool> Next(Row* row) override;
  const std::vector<std::string>& feature_names() const override { return feature_names_; }
  bool has_timestamps() const override { return has_role(Role::kTimestamp); }
  bool has_labels() const override { return has_role(Role::kLabel); }

 private:
  absl::Status AssignRoles(const CsvOptions& options);
  absl::Status SelectFeatures(const std::vector<std::string>& names);
  absl::Status ReadCell(Column& column, absl::string_view cell, Row* row);
  // Of a followed file: whether the cells are the header's; an error where they are another header's.
  absl::StatusOr<bool> IsHeader() const;
  bool has_role(Role role) const {
    return std::any_of(columns_.begin(), columns_.end(), [role](const Column& c) { return c.role == role; });
  }
  absl::Status Error(absl::string_view text) const {
    return absl::InvalidArgumentError(absl::StrCat(name_, ": ", text));
  }
  absl::Status Located(const absl::Status& status) const {
    return absl::Status(status.code(), absl::StrCat(name_, ": ", status.message()));
  }
  std::string ColumnList() const {
    std::vector<absl::string_view> names;
    for (const Column& column : columns_) names.push_back(column.name);
    return NameList(names);
  }

  std::string name_;
  CsvSplitter splitter_;
  std::vector<Column> columns_;
  std::vector<std::string> feature_names_;
  std::vector<absl::string_view> cells_;
  uint64_t row_ = 0;
  bool follow_ = false;
  bool failed_ = false;
};

absl::Status CsvReaderImpl::ReadHeader(const CsvOptions& options) {
  follow_ = options.follow;
  const absl::StatusOr<bool> found = splitter_.Next(&cells_);
  if (!found.ok()) return Located(found.status());
  if (!*found) return Error("expected a header line, got an empty file");
  std::set<std::string> seen;
  for (const absl::string_view cell : cells_) {
    const std::string column(absl::StripAsciiWhitespace(cell));
    if (column.empty())
      return Error(absl::StrCat("header: column ", columns_.size() + 1, ": expected a name, got none"));
    if (!seen.insert(column).second) return Error(absl::StrCat("header: column ", Quoted(column), " is there twice"));
    columns_.push_back({.name = column});
  }
  for (const auto& [separator, plural] : {std::pair(';', "semicolons"), std::pair('\t', "tabs")}) {
    if (columns_.size() == 1 && absl::StrContains(columns_[0].name, separator)) {
      return Error(absl::StrCat("header: expected columns separated by commas, got ", plural));
    }
  }
  return AssignRoles(options);
}

absl::Status CsvReaderImpl::AssignRoles(const CsvOptions& options) {
  const auto assign = [&](const std::string& name, Role role) -> absl::Status {
    if (name.empty()) return absl::OkStatus();
    const auto column = std::find_if(columns_.begin(), columns_.end(), [&](const Column& c) { return c.name == name; });
    if (column == columns_.end()) {
      return Error(absl::StrCat("column '", ShownText(name), "': not in the header, which has ", ColumnList()));
    }
    if (role == Role::kSegment) {
      column->segment = true;
      if (column->role == Role::kFeature && options.feature_names.empty()) column->role = Role::kDropped;
    } else {
      column->role = role;
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(assign(options.timestamp_column, Role::kTimestamp));
  RETURN_IF_ERROR(assign(options.label_column, Role::kLabel));
  RETURN_IF_ERROR(assign(options.culprit_column, Role::kCulprits));
  RETURN_IF_ERROR(assign(options.entity_column, Role::kEntity));
  RETURN_IF_ERROR(assign(options.segment_column, Role::kSegment));
  for (const std::string& name : options.ignore_columns) RETURN_IF_ERROR(assign(name, Role::kDropped));
  if (options.find_labels && options.label_column.empty()) {
    const auto column = std::find_if(columns_.begin(), columns_.end(), [](const Column& c) {
      return c.role == Role::kFeature && absl::EqualsIgnoreCase(c.name, "label");
    });
    if (column != columns_.end()) column->role = Role::kLabel;
  }
  if (options.timestamp_column.empty()) {
    const auto column = std::find_if(columns_.begin(), columns_.end(), [](const Column& c) {
      return c.role == Role::kFeature && IsTimestampName(c.name);
    });
    if (column != columns_.end()) column->role = Role::kTimestamp;
  }
  if (!options.feature_names.empty()) return SelectFeatures(options.feature_names);
  for (Column& column : columns_) {
    if (column.role != Role::kFeature) continue;
    column.feature = feature_names_.size();
    feature_names_.push_back(column.name);
  }
  if (feature_names_.empty()) return Error(absl::StrCat("header: expected at least one feature, got ", ColumnList()));
  return absl::OkStatus();
}

absl::Status CsvReaderImpl::SelectFeatures(const std::vector<std::string>& names) {
  feature_names_ = names;
  std::map<absl::string_view, size_t> wanted;
  for (size_t i = 0; i < names.size(); ++i) wanted.emplace(names[i], i);
  for (Column& column : columns_) {
    const auto found = wanted.find(column.name);
    if (found != wanted.end()) {
      column.role = Role::kFeature;
      column.feature = found->second;
      wanted.erase(found);
    } else if (column.role == Role::kFeature) {
      column.role = Role::kDropped;
    }
  }
  if (wanted.empty()) return absl::OkStatus();
  std::vector<absl::string_view> missing;
  for (const std::string& name : names) {
    if (wanted.contains(name)) missing.push_back(name);
  }
  return Error(absl::StrCat("header: expected the columns ", NameList(missing), ", got ", ColumnList()));
}

absl::Status CsvReaderImpl::ReadCell(Column& column, absl::string_view cell, Row* row) {
  const auto where = [&] { return absl::StrCat("column '", ShownText(column.name), "' row ", row_, ": "); };
  cell = absl::StripAsciiWhitespace(cell);
  if (column.segment) row->segment.assign(cell.data(), cell.size());
  switch (column.role) {
    case Role::kSegment:
    case Role::kDropped:
      break;
    case Role::kTimestamp:
      row->timestamp.assign(cell.data(), cell.size());
      break;
    case Role::kCulprits:
      row->culprits.assign(cell.data(), cell.size());
      break;
    case Role::kEntity:
      row->entity.assign(cell.data(), cell.size());
      break;
    case Role::kLabel:
      if (!ParseLabel(cell, &row->label)) {
        return Error(absl::StrCat(where(), "expected a label (0, 1, normal, anomaly), got ", Quoted(cell)));
      }
      break;
    case Role::kFeature:
      float& value = row->values[column.feature];
      if (IsMissing(cell)) {
        value = std::numeric_limits<float>::quiet_NaN();
      } else if (ParseFloat(cell, &value)) {
        column.has_number = true;
      } else {
        return Error(absl::StrCat(where(), "expected a number, got ", Quoted(cell),
                                  column.has_number ? ""
                                                    : absl::StrCat(" (--ignore-columns=", ShownText(column.name),
                                                                   " leaves the column out)")));
      }
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> CsvReaderImpl::IsHeader() const {
  const auto is_name = [](absl::string_view cell, const Column& column) {
    return absl::StripAsciiWhitespace(absl::StripPrefix(cell, "\xef\xbb\xbf")) == column.name;
  };
  if (std::equal(cells_.begin(), cells_.end(), columns_.begin(), columns_.end(), is_name)) return true;
  // Text where numbers are expected, and a name of ours among it, is no row.
  bool has_name = false;
  for (absl::string_view cell : cells_) {
    cell = absl::StripAsciiWhitespace(absl::StripPrefix(cell, "\xef\xbb\xbf"));
    float number = 0;
    if (IsMissing(cell) || ParseFloat(cell, &number)) return false;
    has_name |= std::any_of(columns_.begin(), columns_.end(), [&](const Column& c) { return c.name == cell; });
  }
  if (!has_name) return false;
  return Error(absl::StrCat("row ", row_ + 1, ": expected the header that the file began with, ", ColumnList(),
                            ", got another: ", NameList(cells_)));
}

absl::StatusOr<bool> CsvReaderImpl::Next(Row* row) {
  if (failed_) return false;
  failed_ = true;  // until this row has been read
  for (bool header = true; header;) {
    const absl::StatusOr<bool> found = splitter_.Next(&cells_);
    if (!found.ok()) return Located(found.status());
    if (!*found) return false;
    header = false;
    if (follow_) {
      ASSIGN_OR_RETURN(header, IsHeader());
    }
  }
  row->number = ++row_;
  if (cells_.size() != columns_.size()) {
    return Error(absl::StrCat("row ", row_, ": expected ", columns_.size(), " columns, got ", cells_.size()));
  }
  row->values.resize(feature_names_.size());
  for (size_t i = 0; i < cells_.size(); ++i) RETURN_IF_ERROR(ReadCell(columns_[i], cells_[i], row));
  failed_ = false;
  return true;
}

absl::StatusOr<std::unique_ptr<CsvReader>> Start(std::unique_ptr<ByteSource> source, const std::string& name,
                                                 const CsvOptions& options) {
  auto reader = std::make_unique<CsvReaderImpl>(std::move(source), name, options);
  RETURN_IF_ERROR(reader->ReadHeader(options));
  return reader;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CsvReader>> CsvReader::Open(const std::string& path, const CsvOptions& options) {
  ASSIGN_OR_RETURN(auto source, ByteSource::Open(path, options.stop_fd, options.follow));
  return Start(std::move(source), path == "-" ? "standard input" : path, options);
}

absl::StatusOr<std::unique_ptr<CsvReader>> CsvReader::FromStream(std::istream* input, const std::string& name,
                                                                 const CsvOptions& options) {
  return Start(ByteSource::FromStream(input, name), name, options);
}

absl::StatusOr<Dataset> ReadCsv(const std::string& path, const CsvOptions& options) {
  ASSIGN_OR_RETURN(const auto reader, CsvReader::Open(path, options));
  Dataset dataset;
  dataset.feature_names = reader->feature_names();
  Row row;
  uint64_t size = 0;  // in values
  const auto text_size = [](const std::string& text) { return (sizeof(std::string) + text.size()) / sizeof(float); };
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, reader->Next(&row));
    if (!more) break;
    size += row.values.size();
    if (reader->has_timestamps()) size += text_size(row.timestamp);
    if (!options.entity_column.empty()) size += text_size(row.entity);
    if (!options.culprit_column.empty()) size += text_size(row.culprits);
    if (size > options.max_values) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": row ", row.number, ": expected at most ", options.max_values, " values in a file"));
    }
    dataset.values.insert(dataset.values.end(), row.values.begin(), row.values.end());
    if (reader->has_timestamps()) dataset.timestamps.push_back(row.timestamp);
    if (!options.entity_column.empty()) dataset.entities.push_back(row.entity);
    if (reader->has_labels()) dataset.labels.push_back(row.label);
    if (!options.culprit_column.empty()) dataset.culprits.push_back(row.culprits);
  }
  if (dataset.rows() == 0) return absl::InvalidArgumentError(absl::StrCat(path, ": expected rows, got a header alone"));
  return dataset;
}

}  // namespace astray
