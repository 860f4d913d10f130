#include "engine/data/csv_writer.h"

#include <array>
#include <charconv>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "engine/base/file.h"

namespace astray {

void AppendCsvCell(absl::string_view text, std::string* out) {
  // A byte order mark that opens a file is no part of its first cell.
  if (text.find_first_of(",\"\r\n") != absl::string_view::npos || absl::StartsWith(text, "\xef\xbb\xbf")) {
    absl::StrAppend(out, "\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
  } else {
    absl::StrAppend(out, text);
  }
}

std::string FormatFloat(float value) {
  if (std::isnan(value)) return "";
  std::array<char, 32> buffer;
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return std::string(buffer.data(), end);
}

std::string FormatCsv(const Dataset& dataset) {
  std::string out;
  const char* separator = "";
  const auto cell = [&](absl::string_view name) {
    absl::StrAppend(&out, separator);
    AppendCsvCell(name, &out);
    separator = ",";
  };
  if (!dataset.timestamps.empty()) cell("timestamp");
  for (const std::string& name : dataset.feature_names) cell(name);
  if (!dataset.labels.empty()) cell("label");
  if (!dataset.culprits.empty()) cell("culprits");
  out += '\n';
  for (size_t i = 0; i < dataset.rows(); ++i) {
    separator = "";
    if (!dataset.timestamps.empty()) cell(dataset.timestamps[i]);
    for (const float value : dataset.row(i)) cell(FormatFloat(value));
    if (!dataset.labels.empty()) cell(dataset.labels[i] ? "1" : "0");
    if (!dataset.culprits.empty()) cell(dataset.culprits[i]);
    if (out.back() == '\n') out += "\"\"";  // a blank line would be no row
    out += '\n';
  }
  return out;
}

absl::Status WriteCsv(const std::string& path, const Dataset& dataset) {
  return WriteFileAtomically(path, FormatCsv(dataset));
}

}  // namespace astray
