#include "engine/data/line_reader.h"

#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace astray {

LineReader::LineReader(std::unique_ptr<ByteSource> source, std::string name)
    : source_(std::move(source)), name_(std::move(name)), buffer_(64 << 10) {}

absl::Status LineReader::Error(absl::string_view text) const {
  return absl::InvalidArgumentError(absl::StrCat(name_, ": line ", line_, ": ", text));
}

void LineReader::Close() {
  begin_ = end_;
  at_end_ = true;
}

absl::StatusOr<bool> LineReader::Next(absl::string_view* line) {
  absl::StatusOr<bool> found = Find(line);
  if (!found.ok()) Close();
  return found;
}

absl::StatusOr<bool> LineReader::Find(absl::string_view* line) {
  ++line_;
  for (size_t scanned = begin_;;) {
    const void* newline = std::memchr(buffer_.data() + scanned, '\n', end_ - scanned);
    if (newline != nullptr || (at_end_ && begin_ < end_)) {
      const size_t line_end =
          newline == nullptr ? end_ : static_cast<size_t>(static_cast<const char*>(newline) - buffer_.data());
      *line = absl::StripAsciiWhitespace({buffer_.data() + begin_, line_end - begin_});
      begin_ = newline == nullptr ? end_ : line_end + 1;
      if (line->size() <= kMaxLineBytes) return true;
    }
    if (newline != nullptr || end_ - begin_ > kMaxLineBytes) {
      return Error(absl::StrCat("expected at most ", kMaxLineBytes, " bytes in a line"));
    }
    if (at_end_) return false;
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    scanned = end_;
    if (end_ == buffer_.size()) buffer_.resize(2 * buffer_.size());
    ASSIGN_OR_RETURN(const size_t got, source_->Read(buffer_.data() + end_, buffer_.size() - end_));
    end_ += got;
    at_end_ = got == 0;
  }
}

}  // namespace astray
