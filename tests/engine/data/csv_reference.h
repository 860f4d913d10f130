// CSV as csv_reader.h states it, read in the plainest way there is: what the real reader is compared with.
#pragma once

#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace astray {

struct ReferenceCsv {
  std::vector<float> values;  // of the rows before the first that is refused; every column is a feature
  size_t rows = 0;
  bool refused = false;
};

inline std::optional<float> ReferenceNumber(absl::string_view cell) {
  cell = absl::StripAsciiWhitespace(cell);
  for (const char* word : {"", "na", "nan", "null", "?"}) {
    if (absl::EqualsIgnoreCase(cell, word)) return std::numeric_limits<float>::quiet_NaN();
  }
  if (cell == "-nan") return std::numeric_limits<float>::quiet_NaN();
  if (absl::ConsumePrefix(&cell, "+") && absl::StartsWith(cell, "-")) return std::nullopt;
  if (cell.empty()) return std::nullopt;
  double number = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), number);
  if (end != cell.data() + cell.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range) number = std::strtod(std::string(cell).c_str(), nullptr);
  const auto value = static_cast<float>(number);
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

// The cells of a record; none where it is refused.
inline std::optional<std::vector<std::string>> ReferenceCells(const std::string& record) {
  if (record.find('\0') != std::string::npos) return std::nullopt;
  if (record.find('"') == std::string::npos) return absl::StrSplit(record, ',');
  std::vector<std::string> cells;
  for (size_t i = 0;;) {
    std::string& cell = cells.emplace_back();
    if (i < record.size() && record[i] == '"') {
      for (++i; i < record.size(); ++i) {
        if (record[i] == '"' && (i + 1 == record.size() || record[i + 1] != '"')) break;
        if (record[i] == '"') ++i;
        cell += record[i];
      }
      if (++i < record.size() && record[i] != ',') return std::nullopt;
    } else {
      for (; i < record.size() && record[i] != ','; ++i) cell += record[i];
      if (cell.find('"') != std::string::npos) return std::nullopt;
    }
    if (i >= record.size()) return cells;
    ++i;
  }
}

// `text` begins with a good header of `columns` names.
inline ReferenceCsv ReadReferenceCsv(const std::string& text, size_t columns) {
  ReferenceCsv read;
  bool header = true;
  for (size_t begin = 0; begin < text.size() && !read.refused;) {
    bool quoted = false;
    size_t end = begin;
    for (; end < text.size() && (quoted || text[end] != '\n'); ++end) quoted ^= text[end] == '"';
    std::string record = text.substr(begin, end - begin);
    begin = end + 1;
    if (quoted) {
      read.refused = true;
      break;
    }
    if (!record.empty() && record.back() == '\r') record.pop_back();
    if (record.empty()) continue;
    if (std::exchange(header, false)) continue;
    const auto cells = ReferenceCells(record);
    std::vector<float> row;
    if (cells && cells->size() == columns) {
      for (const std::string& cell : *cells) {
        if (const auto number = ReferenceNumber(cell)) row.push_back(*number);
      }
    }
    read.refused = row.size() != columns;
    if (read.refused) break;
    read.values.insert(read.values.end(), row.begin(), row.end());
    ++read.rows;
  }
  return read;
}

}  // namespace astray
