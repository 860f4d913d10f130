#include "engine/data/line_reader.h"

#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace astray {

LineReader::LineReader(std::unique_ptr<ByteSource> source, std::string name, LongLines long_lines)
    : source_(std::move(source)), name_(std::move(name)), long_lines_(long_lines), buffer_(64 << 10) {}

absl::Status LineReader::Error(absl::string_view text) const {
  return absl::InvalidArgumentError(absl::StrCat(name_, ": line ", line_, ": ", text));
}

void LineReader::Close() {
  skipping_ = false;
  begin_ = end_;
  at_end_ = true;
}

absl::StatusOr<bool> LineReader::Next(absl::string_view* line) {
  absl::StatusOr<bool> found = Find(line);
  if (!found.ok()) Close();
  return found;
}

absl::Status LineReader::Fill() {
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  if (end_ == buffer_.size()) buffer_.resize(2 * buffer_.size());
  ASSIGN_OR_RETURN(const size_t got, source_->Read(buffer_.data() + end_, buffer_.size() - end_));
  end_ += got;
  at_end_ = got == 0;
  return absl::OkStatus();
}

absl::Status LineReader::SkipRest() {
  while (true) {
    const void* newline = std::memchr(buffer_.data() + begin_, '\n', end_ - begin_);
    skipping_ = newline == nullptr && !at_end_;
    begin_ = newline == nullptr ? end_ : static_cast<size_t>(static_cast<const char*>(newline) - buffer_.data()) + 1;
    if (!skipping_) return absl::OkStatus();
    RETURN_IF_ERROR(Fill());
  }
}

absl::StatusOr<bool> LineReader::Find(absl::string_view* line) {
  if (skipping_) RETURN_IF_ERROR(SkipRest());
  ++line_;
  for (size_t searched = 0;;) {
    const size_t from = begin_ + searched;
    const void* newline = std::memchr(buffer_.data() + from, '\n', end_ - from);
    const size_t line_end =
        newline == nullptr ? end_ : static_cast<size_t>(static_cast<const char*>(newline) - buffer_.data());
    const bool whole = newline != nullptr || at_end_;
    if (whole && line_end == begin_ && newline == nullptr) return false;
    *line = absl::StripAsciiWhitespace({buffer_.data() + begin_, line_end - begin_});
    if (whole && line->size() <= kMaxLineBytes) {
      begin_ = newline == nullptr ? end_ : line_end + 1;
      return true;
    }
    if (whole || line_end - begin_ > kMaxLineBytes + 1) {  // one more: a carriage return may be the last
      if (long_lines_ == LongLines::kRefuse) {
        return Error(absl::StrCat("expected at most ", kMaxLineBytes, " bytes in a line"));
      }
      *line = {buffer_.data() + begin_, kMaxLineBytes};
      begin_ += kMaxLineBytes;
      skipping_ = true;
      return true;
    }
    searched = end_ - begin_;
    RETURN_IF_ERROR(Fill());
  }
}

}  // namespace astray
