#include "engine/data/json_lines_reader.h"

#include "absl/strings/string_view.h"
#include "engine/base/status_macros.h"

namespace astray {

absl::StatusOr<std::unique_ptr<JsonLinesReader>> JsonLinesReader::Open(const std::string& path,
                                                                       const std::vector<std::string>& feature_names,
                                                                       int stop_fd, const std::string& entity_member,
                                                                       bool follow, const std::string& segment_member) {
  ASSIGN_OR_RETURN(auto source, ByteSource::Open(path, stop_fd, follow));
  return std::unique_ptr<JsonLinesReader>(
      new JsonLinesReader(std::move(source), path == "-" ? "standard input" : path,
                          JsonObjectParser(feature_names, entity_member, segment_member)));
}

std::unique_ptr<JsonLinesReader> JsonLinesReader::FromStream(std::istream* input, const std::string& name,
                                                             const std::vector<std::string>& feature_names) {
  return std::unique_ptr<JsonLinesReader>(
      new JsonLinesReader(ByteSource::FromStream(input, name), name, JsonObjectParser(feature_names)));
}

absl::StatusOr<bool> JsonLinesReader::Next(Row* row) {
  absl::string_view line;
  do {
    ASSIGN_OR_RETURN(const bool found, lines_.Next(&line));
    if (!found) return false;
  } while (line.empty());
  if (const absl::Status status = parser_.Parse(line, row); !status.ok()) {
    lines_.Close();
    return lines_.Error(status.message());
  }
  row->number = ++row_;
  return true;
}

}  // namespace astray
