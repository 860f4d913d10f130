#include "engine/data/fasta_reader.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/shown_text.h"
#include "engine/base/status_macros.h"

namespace astray {

FastaReader::FastaReader(std::unique_ptr<ByteSource> source, std::string name)
    : lines_(std::move(source), std::move(name)) {}

absl::StatusOr<std::unique_ptr<FastaReader>> FastaReader::Open(const std::string& path, int stop_fd) {
  ASSIGN_OR_RETURN(auto source, ByteSource::Open(path, stop_fd));
  return std::unique_ptr<FastaReader>(new FastaReader(std::move(source), path == "-" ? "standard input" : path));
}

std::unique_ptr<FastaReader> FastaReader::FromStream(std::istream* input, const std::string& name) {
  return std::unique_ptr<FastaReader>(new FastaReader(ByteSource::FromStream(input, name), name));
}

absl::Status FastaReader::Append(absl::string_view line, FastaRecord* record) const {
  if (record->sequence.size() + line.size() > kMaxSequenceLetters) {
    return lines_.Error(absl::StrCat("expected at most ", kMaxSequenceLetters, " letters in a sequence"));
  }
  for (const char letter : line) {
    if (!absl::ascii_isalpha(static_cast<unsigned char>(letter)) && letter != '-' && letter != '*') {
      return lines_.Error(absl::StrCat("expected letters of a sequence, got \"", ShownText(line), "\""));
    }
    record->sequence.push_back(absl::ascii_toupper(static_cast<unsigned char>(letter)));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> FastaReader::Next(FastaRecord* record) {
  record->sequence.clear();
  absl::Status status;
  for (absl::string_view line; status.ok();) {
    const absl::StatusOr<bool> next = lines_.Next(&line);
    status = next.status();
    if (!status.ok()) break;
    const bool found = *next;
    if (found && line.empty()) continue;
    if (!found || absl::ConsumePrefix(&line, ">")) {
      const bool complete = has_header_;
      record->header = std::exchange(header_, std::string(line));
      has_header_ = found;
      if (!found) header_.clear();
      if (complete && record->sequence.empty()) {
        status = lines_.Error(absl::StrCat("expected a sequence for '", ShownText(record->header), "', got none"));
        break;
      }
      if (complete) return true;
      if (!found) return false;
      continue;
    }
    status = has_header_
                 ? Append(line, record)
                 : lines_.Error(absl::StrCat("expected a line that begins with '>', got \"", ShownText(line), "\""));
  }
  lines_.Close();
  has_header_ = false;
  return status;
}

}  // namespace astray
