#include "engine/data/csv_columns.h"

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
#include "engine/data/short_decimal.h"

namespace astray {
namespace {

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

absl::Status Error(absl::string_view text) { return absl::InvalidArgumentError(text); }

}  // namespace

bool CsvColumns::HasRole(Role role) const {
  return std::any_of(columns_.begin(), columns_.end(), [role](const Column& c) { return c.role == role; });
}

std::string CsvColumns::List() const {
  std::vector<absl::string_view> names;
  for (const Column& column : columns_) names.push_back(column.name);
  return NameList(names);
}

absl::StatusOr<CsvColumns> CsvColumns::FromHeader(const std::vector<absl::string_view>& cells,
                                                  const CsvOptions& options) {
  CsvColumns columns;
  std::set<std::string> seen;
  for (const absl::string_view cell : cells) {
    const std::string column(absl::StripAsciiWhitespace(cell));
    if (column.empty()) {
      return Error(absl::StrCat("header: column ", columns.size() + 1, ": expected a name, got none"));
    }
    if (!seen.insert(column).second) return Error(absl::StrCat("header: column ", Quoted(column), " is there twice"));
    columns.columns_.push_back({.name = column});
  }
  for (const auto& [separator, plural] : {std::pair(';', "semicolons"), std::pair('\t', "tabs")}) {
    if (columns.size() == 1 && absl::StrContains(columns.columns_[0].name, separator)) {
      return Error(absl::StrCat("header: expected columns separated by commas, got ", plural));
    }
  }
  RETURN_IF_ERROR(columns.AssignRoles(options));
  for (const Column& column : columns.columns_) {
    columns.plans_.push_back({.feature = column.feature,
                              .number = column.role == Role::kFeature && !column.segment,
                              .dropped = column.role == Role::kDropped && !column.segment});
  }
  columns.numbers_seen_.resize(columns.size());
  return columns;
}

absl::Status CsvColumns::Assign(const std::string& name, Role role, const CsvOptions& options) {
  if (name.empty()) return absl::OkStatus();
  const auto column = std::find_if(columns_.begin(), columns_.end(), [&](const Column& c) { return c.name == name; });
  if (column == columns_.end()) {
    return Error(absl::StrCat("column '", ShownText(name), "': not in the header, which has ", List()));
  }
  if (role == Role::kSegment) {
    column->segment = true;
    if (column->role == Role::kFeature && options.feature_names.empty()) column->role = Role::kDropped;
  } else {
    column->role = role;
  }
  return absl::OkStatus();
}

absl::Status CsvColumns::AssignRoles(const CsvOptions& options) {
  RETURN_IF_ERROR(Assign(options.timestamp_column, Role::kTimestamp, options));
  RETURN_IF_ERROR(Assign(options.label_column, Role::kLabel, options));
  RETURN_IF_ERROR(Assign(options.culprit_column, Role::kCulprits, options));
  RETURN_IF_ERROR(Assign(options.entity_column, Role::kEntity, options));
  RETURN_IF_ERROR(Assign(options.segment_column, Role::kSegment, options));
  for (const std::string& name : options.ignore_columns) RETURN_IF_ERROR(Assign(name, Role::kDropped, options));
  const auto find = [&](Role role, auto is_it) {
    const auto column = std::find_if(columns_.begin(), columns_.end(),
                                     [&](const Column& c) { return c.role == Role::kFeature && is_it(c.name); });
    if (column != columns_.end()) column->role = role;
  };
  if (options.find_labels && options.label_column.empty()) {
    find(Role::kLabel, [](const std::string& name) { return absl::EqualsIgnoreCase(name, "label"); });
  }
  if (options.timestamp_column.empty()) find(Role::kTimestamp, IsTimestampName);
  if (!options.feature_names.empty()) return SelectFeatures(options.feature_names);
  for (Column& column : columns_) {
    if (column.role != Role::kFeature) continue;
    column.feature = static_cast<uint32_t>(feature_names_.size());
    feature_names_.push_back(column.name);
  }
  if (feature_names_.empty()) return Error(absl::StrCat("header: expected at least one feature, got ", List()));
  return absl::OkStatus();
}

absl::Status CsvColumns::SelectFeatures(const std::vector<std::string>& names) {
  feature_names_ = names;
  std::map<absl::string_view, size_t> wanted;
  for (size_t i = 0; i < names.size(); ++i) wanted.emplace(names[i], i);
  for (Column& column : columns_) {
    const auto found = wanted.find(column.name);
    if (found != wanted.end()) {
      column.role = Role::kFeature;
      column.feature = static_cast<uint32_t>(found->second);
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
  return Error(absl::StrCat("header: expected the columns ", NameList(missing), ", got ", List()));
}

absl::Status CsvColumns::Read(size_t i, absl::string_view cell, uint64_t row, float* values, Row* text) {
  const Column& column = columns_[i];
  const auto where = [&] { return absl::StrCat("column '", ShownText(column.name), "' row ", row, ": "); };
  cell = absl::StripAsciiWhitespace(cell);
  if (column.segment) text->segment.assign(cell.data(), cell.size());
  switch (column.role) {
    case Role::kSegment:
    case Role::kDropped:
      break;
    case Role::kTimestamp:
      text->timestamp.assign(cell.data(), cell.size());
      break;
    case Role::kCulprits:
      text->culprits.assign(cell.data(), cell.size());
      break;
    case Role::kEntity:
      text->entity.assign(cell.data(), cell.size());
      break;
    case Role::kLabel:
      if (!ParseLabel(cell, &text->label)) {
        return Error(absl::StrCat(where(), "expected a label (0, 1, normal, anomaly), got ", Quoted(cell)));
      }
      break;
    case Role::kFeature:
      float& value = values[column.feature];
      if (IsMissing(cell)) {
        value = std::numeric_limits<float>::quiet_NaN();
      } else if (ParseFloat(cell, &value)) {
        numbers_seen_[i] = 1;
      } else {
        return Error(absl::StrCat(where(), "expected a number, got ", Quoted(cell),
                                  numbers_seen_[i] != 0 ? ""
                                                        : absl::StrCat(" (--ignore-columns=", ShownText(column.name),
                                                                       " leaves the column out)")));
      }
  }
  return absl::OkStatus();
}

// Reads a cell that is a short number and nothing else. Returns its end, behind its closing quote where it has one;
// null for other cells.
inline const char* ReadNumberCell(const char* cell, float* value) {
  const bool quoted = *cell == '"';
  double number;
  const char* const end = ParseShortDecimal(quoted ? cell + 1 : cell, &number);
  if (end == nullptr) return nullptr;
  const bool whole = quoted ? *end == '"' : *end == ',' || *end == '\n' || (*end == '\r' && end[1] == '\n');
  if (!whole) return nullptr;
  *value = static_cast<float>(number);  // at most 2^53 x 10^22: a float holds it
  return quoted ? end + 1 : end;
}

// The same of any cell that ReadPlain takes.
const char* CsvColumns::ReadPlainCell(size_t column, const char* cell, float* values, Row* text) {
  const bool quoted = *cell == '"';
  const char* const begin = quoted ? cell + 1 : cell;
  const char* end = begin;
  if (quoted) {
    for (; *end != '"'; ++end) {
      if (*end == '\n' || *end == '\0') return nullptr;
    }
  } else {
    for (; *end != ',' && *end != '\n'; ++end) {
      if (*end == '"' || *end == '\0') return nullptr;
    }
  }
  const absl::string_view content(begin, static_cast<size_t>(end - begin));
  if (!plans_[column].dropped && !Read(column, content, /*row=*/0, values, text).ok()) return nullptr;
  if (quoted) return end + 1;
  return *end == '\n' && end > begin && end[-1] == '\r' ? end - 1 : end;
}

const char* CsvColumns::ReadPlain(const char* record, float* values, Row* text) {
  const Plan* const plans = plans_.data();
  uint8_t* const numbers_seen = numbers_seen_.data();
  const size_t last = columns_.size() - 1;
  // A line without anything is no record.
  if (last == 0 && (*record == '\n' || *record == '\r')) return nullptr;
  const char* cell = record;
  for (size_t column = 0;; ++column) {
    const char* end = nullptr;
    if (plans[column].number) end = ReadNumberCell(cell, values + plans[column].feature);
    if (end != nullptr) {
      numbers_seen[column] = 1;
    } else {
      end = ReadPlainCell(column, cell, values, text);
      if (end == nullptr) return nullptr;
    }
    cell = end;
    if (column == last) break;
    if (*cell != ',') return nullptr;
    ++cell;
  }
  if (*cell == '\r') ++cell;
  return *cell == '\n' ? cell + 1 : nullptr;
}

absl::StatusOr<bool> CsvColumns::IsHeader(const std::vector<absl::string_view>& cells, uint64_t row) const {
  const auto is_name = [](absl::string_view cell, const Column& column) {
    return absl::StripAsciiWhitespace(absl::StripPrefix(cell, "\xef\xbb\xbf")) == column.name;
  };
  if (std::equal(cells.begin(), cells.end(), columns_.begin(), columns_.end(), is_name)) return true;
  // Text where numbers are expected, and a name of ours among it, is no row.
  bool has_name = false;
  for (absl::string_view cell : cells) {
    cell = absl::StripAsciiWhitespace(absl::StripPrefix(cell, "\xef\xbb\xbf"));
    float number = 0;
    if (IsMissing(cell) || ParseFloat(cell, &number)) return false;
    has_name |= std::any_of(columns_.begin(), columns_.end(), [&](const Column& c) { return c.name == cell; });
  }
  if (!has_name) return false;
  return Error(absl::StrCat("row ", row, ": expected the header that the file began with, ", List(),
                            ", got another: ", NameList(cells)));
}

}  // namespace astray
