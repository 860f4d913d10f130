#include "engine/data/csv_splitter.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace astray {

CsvSplitter::CsvSplitter(std::unique_ptr<ByteSource> source, size_t max_line_bytes, size_t max_columns)
    : source_(std::move(source)), max_line_bytes_(max_line_bytes), max_columns_(max_columns), buffer_(256 << 10) {}

absl::StatusOr<bool> CsvSplitter::NextLine(absl::string_view* line) {
  size_t scanned = begin_;
  bool quoted = false;
  for (;;) {
    for (; scanned < end_; ++scanned) {
      const char c = buffer_[scanned];
      if (c == '"') quoted = !quoted;
      if (c != '\n') continue;
      ++next_line_;
      if (quoted) continue;
      *line = {buffer_.data() + begin_, scanned - begin_};
      begin_ = scanned + 1;
      return true;
    }
    if (end_ - begin_ > max_line_bytes_) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", line_, ": expected at most ", max_line_bytes_, " bytes in a line"));
    }
    if (at_end_) {
      if (begin_ == end_) return false;
      if (quoted) return absl::InvalidArgumentError(absl::StrCat("line ", line_, ": expected a closing quote"));
      *line = {buffer_.data() + begin_, end_ - begin_};
      begin_ = end_;
      return true;
    }
    // Make room: move what is left to the front, and grow while a line is longer than the buffer.
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    scanned -= begin_;
    end_ -= begin_;
    begin_ = 0;
    if (end_ == buffer_.size()) buffer_.resize(2 * buffer_.size());
    ASSIGN_OR_RETURN(const size_t got, source_->Read(buffer_.data() + end_, buffer_.size() - end_));
    end_ += got;
    at_end_ = got == 0;
  }
}

absl::StatusOr<bool> CsvSplitter::Next(std::vector<absl::string_view>* cells) {
  absl::string_view line;
  do {
    line_ = next_line_;
    ASSIGN_OR_RETURN(const bool found, NextLine(&line));
    if (!found) return false;
    if (line_ == 1 && line.substr(0, 3) == "\xef\xbb\xbf") line.remove_prefix(3);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  } while (line.empty());
  if (line.size() > max_line_bytes_) {
    return absl::InvalidArgumentError(
        absl::StrCat("line ", line_, ": expected at most ", max_line_bytes_, " bytes in a line, got ", line.size()));
  }
  if (std::memchr(line.data(), '\0', line.size()) != nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("line ", line_, ": expected text, got a NUL byte"));
  }
  cells->clear();
  if (std::memchr(line.data(), '"', line.size()) != nullptr) {
    RETURN_IF_ERROR(SplitQuoted(line, cells));
  } else {
    for (size_t begin = 0; cells->size() <= max_columns_;) {
      const size_t comma = line.find(',', begin);
      cells->push_back(line.substr(begin, comma - begin));
      if (comma == absl::string_view::npos) break;
      begin = comma + 1;
    }
  }
  if (cells->size() > max_columns_) {
    return absl::InvalidArgumentError(absl::StrCat("line ", line_, ": expected at most ", max_columns_, " columns"));
  }
  return true;
}

absl::Status CsvSplitter::SplitQuoted(absl::string_view line, std::vector<absl::string_view>* cells) {
  unquoted_.clear();
  unquoted_.reserve(line.size());  // views into it stay valid: quotes only go away
  for (size_t i = 0; cells->size() <= max_columns_;) {
    if (i < line.size() && line[i] == '"') {
      const size_t begin = unquoted_.size();
      for (++i; i < line.size(); ++i) {
        if (line[i] == '"') {
          if (i + 1 >= line.size() || line[i + 1] != '"') break;
          ++i;  // a doubled quote is one
        }
        unquoted_.push_back(line[i]);
      }
      ++i;
      if (i < line.size() && line[i] != ',') {
        return absl::InvalidArgumentError(
            absl::StrCat("line ", line_, ": column ", cells->size() + 1, ": expected a comma after a closing quote"));
      }
      cells->push_back(absl::string_view(unquoted_.data() + begin, unquoted_.size() - begin));
    } else {
      const size_t comma = std::min(line.find(',', i), line.size());
      if (line.substr(i, comma - i).find('"') != absl::string_view::npos) {
        return absl::InvalidArgumentError(absl::StrCat("line ", line_, ": column ", cells->size() + 1,
                                                       ": expected a cell with quotes in it to be quoted as a whole"));
      }
      cells->push_back(line.substr(i, comma - i));
      i = comma;
    }
    if (i >= line.size()) break;
    ++i;
  }
  return absl::OkStatus();
}

}  // namespace astray
