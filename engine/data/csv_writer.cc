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

void AppendFloat(float value, std::string* out) {
  if (std::isnan(value)) return;
  std::array<char, 32> buffer;
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  out->append(buffer.data(), end);
}

std::string FormatFloat(float value) {
  std::string text;
  AppendFloat(value, &text);
  return text;
}

std::string FormatCsv(const Dataset& dataset) {
  constexpr size_t kUsualCell = 10;
  std::string out;
  out.reserve(dataset.values.size() * kUsualCell);
  const auto text = [&](absl::string_view name) {
    AppendCsvCell(name, &out);
    out += ',';
  };
  const auto end_line = [&] { out.back() = '\n'; };
  if (!dataset.timestamps.empty()) text("timestamp");
  for (const std::string& name : dataset.feature_names) text(name);
  if (!dataset.labels.empty()) text("label");
  if (!dataset.culprits.empty()) text("culprits");
  end_line();
  for (size_t i = 0; i < dataset.rows(); ++i) {
    const size_t begin = out.size();
    if (!dataset.timestamps.empty()) text(dataset.timestamps[i]);
    for (const float value : dataset.row(i)) {
      AppendFloat(value, &out);
      out += ',';
    }
    if (!dataset.labels.empty()) text(dataset.labels[i] ? "1" : "0");
    if (!dataset.culprits.empty()) text(dataset.culprits[i]);
    if (out.size() == begin + 1) out.insert(begin, "\"\"");  // a blank line would be no row
    end_line();
  }
  return out;
}

absl::Status WriteCsv(const std::string& path, const Dataset& dataset) {
  return WriteFileAtomically(path, FormatCsv(dataset));
}

}  // namespace astray
