#include "engine/data/csv_splitter.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/data/short_decimal.h"

namespace astray {
namespace {

constexpr size_t kBufferBytes = 256 << 10;
constexpr size_t kSlack = kShortDecimalSlack + 1;

}  // namespace

CsvSplitter::CsvSplitter(std::unique_ptr<ByteSource> source, size_t max_line_bytes, size_t max_columns)
    : source_(std::move(source)), max_line_bytes_(max_line_bytes), max_columns_(max_columns) {
  buffer_.resize((source_ == nullptr ? 0 : kBufferBytes) + kSlack);
}

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
    if (end_ == buffer_.size() - kSlack) buffer_.resize(2 * buffer_.size());
    ASSIGN_OR_RETURN(const size_t got, source_->Read(buffer_.data() + end_, buffer_.size() - kSlack - end_));
    end_ += got;
    at_end_ = got == 0;
    Mark();
  }
}

absl::StatusOr<bool> CsvSplitter::NextPiece(size_t bytes, CsvPiece* piece) {
  std::vector<char>& into = piece->bytes;
  size_t size = end_ - begin_, looked_at = 0, whole = 0;
  bool quoted = false;
  if (into.size() < std::max(bytes, size) + kSlack) into.resize(std::max(bytes, size) + kSlack);
  std::memcpy(into.data(), buffer_.data() + begin_, size);
  for (;;) {
    while (!at_end_ && size < std::max(bytes, looked_at + 1)) {
      ASSIGN_OR_RETURN(const size_t got, source_->Read(into.data() + size, into.size() - kSlack - size));
      size += got;
      at_end_ = got == 0;
    }
    if (at_end_) {
      whole = size;
      break;
    }
    // The last newline outside quotes; a piece begins outside.
    while (looked_at < size) {
      const char* const from = into.data() + looked_at;
      const auto* quote = static_cast<const char*>(std::memchr(from, '"', size - looked_at));
      const size_t count = (quote == nullptr ? into.data() + size : quote) - from;
      const auto* newline = quoted ? nullptr : static_cast<const char*>(memrchr(from, '\n', count));
      if (newline != nullptr) whole = static_cast<size_t>(newline - into.data()) + 1;
      looked_at += count + (quote == nullptr ? 0 : 1);
      if (quote != nullptr) quoted = !quoted;
    }
    // A record that is too long is its reader's to refuse.
    if (whole > 0 || size > max_line_bytes_) break;
    into.resize(2 * into.size());
  }
  if (whole == 0) whole = size;
  begin_ = 0;
  end_ = size - whole;
  if (buffer_.size() < end_ + kSlack) buffer_.resize(end_ + kSlack);
  std::memcpy(buffer_.data(), into.data() + whole, end_);
  Mark();
  piece->size = whole;
  return whole > 0;
}

void CsvSplitter::Load(CsvPiece* piece, uint64_t line) {
  buffer_.swap(piece->bytes);
  end_ = piece->size;
  at_end_ = true;
  Rewind(line);
  Mark();
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
