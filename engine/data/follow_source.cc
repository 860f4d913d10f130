#include "engine/data/follow_source.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace astray {

FollowSource::~FollowSource() {
  if (fd_ >= 0) close(fd_);
}

absl::Status FollowSource::Open() {
  // Without O_NONBLOCK a pipe would wait for its writer.
  fd_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  offset_ = 0;
  if (fd_ < 0) {
    if (errno == ENOENT || errno == ENOTDIR) return absl::OkStatus();
    return absl::PermissionDeniedError(absl::StrCat(path_, ": cannot open: ", std::strerror(errno)));
  }
  struct stat info {};
  if (fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": expected a regular file to follow"));
  }
  return absl::OkStatus();
}

absl::StatusOr<size_t> FollowSource::ReadHere(char* out, size_t size) {
  ssize_t got = 0;
  do {
    got = read(fd_, out, size);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return absl::InternalError(absl::StrCat(path_, ": cannot read: ", std::strerror(errno)));
  if (got > 0 && offset_ == 0 && out[0] == '\x1f') {  // no text begins so
    return absl::InvalidArgumentError(absl::StrCat(path_, ": expected text to follow, got gzip"));
  }
  offset_ += static_cast<uint64_t>(got);
  if (got > 0) last_ = out[got - 1];
  return static_cast<size_t>(got);
}

bool FollowSource::IsTruncated() const {
  struct stat info {};
  return fstat(fd_, &info) == 0 && static_cast<uint64_t>(info.st_size) < offset_;
}

bool FollowSource::IsReplaced() const {
  struct stat here {
  }, there{};
  // While nothing is under the name, the old file's writer may go on with it.
  if (fstat(fd_, &here) != 0 || stat(path_.c_str(), &there) != 0) return false;
  return here.st_dev != there.st_dev || here.st_ino != there.st_ino;
}

absl::StatusOr<size_t> FollowSource::Read(char* out, size_t size) {
  pollfd stop = {stop_fd_, POLLIN, 0};
  for (int wait_ms = 0;; wait_ms = static_cast<int>(absl::ToInt64Milliseconds(kPollPeriod))) {
    if (poll(&stop, 1, wait_ms) > 0) return absl::CancelledError("stopped");
    if (fd_ < 0) RETURN_IF_ERROR(Open());
    if (fd_ < 0) continue;
    const bool replaced = IsReplaced();  // before reading: what was written until then is read
    ASSIGN_OR_RETURN(const size_t got, ReadHere(out, size));
    if (got > 0) return got;
    if (replaced) {
      close(fd_);
      RETURN_IF_ERROR(Open());
    } else if (IsTruncated()) {
      offset_ = 0;
      lseek(fd_, 0, SEEK_SET);
    } else {
      continue;
    }
    if (last_ == '\n') continue;
    *out = last_ = '\n';
    return size_t{1};
  }
}

}  // namespace astray
