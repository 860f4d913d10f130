#include "engine/base/scratch_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

std::string DefaultFolder() {
  const char* asked = std::getenv("TMPDIR");
  return asked != nullptr && *asked != '\0' ? asked : "/var/tmp";
}

std::string Text(const Scratch& scratch, absl::string_view what) {
  return absl::StrCat("scratch file in '", scratch.folder(), "': ", what, "; ", scratch.folder_choice(),
                      " names another folder");
}

absl::Status Failed(const Scratch& scratch, absl::string_view what, int error) {
  const std::string text = Text(scratch, absl::StrCat(what, ": ", std::strerror(error)));
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) return absl::ResourceExhaustedError(text);
  return absl::InternalError(text);
}

}  // namespace

Scratch::Scratch(std::string folder, size_t memory_bytes, size_t reserve_bytes)
    : folder_choice_(folder.empty() ? "--scratch-dir or TMPDIR" : "--scratch-dir"),
      folder_(folder.empty() ? DefaultFolder() : std::move(folder)),
      reserve_bytes_(reserve_bytes),
      left_(std::make_shared<std::atomic<int64_t>>(static_cast<int64_t>(memory_bytes))) {}

bool Scratch::Take(size_t bytes) const {
  if (left_ == nullptr || left_->fetch_sub(static_cast<int64_t>(bytes)) >= static_cast<int64_t>(bytes)) return true;
  Return(bytes);
  return false;
}

void Scratch::Return(size_t bytes) const {
  if (left_ != nullptr) left_->fetch_add(static_cast<int64_t>(bytes));
}

ScratchFile::ScratchFile(ScratchFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

ScratchFile& ScratchFile::operator=(ScratchFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

ScratchFile::~ScratchFile() {
  if (data_ != nullptr) munmap(data_, bytes_);
  if (fd_ >= 0) close(fd_);
}

absl::Status ScratchFile::Open(const Scratch& scratch) {
  const std::string& folder = scratch.folder();
  struct statfs info {};
  if (statfs(folder.c_str(), &info) != 0) return Failed(scratch, "cannot be made", errno);
  if (info.f_type == TMPFS_MAGIC || info.f_type == RAMFS_MAGIC) {
    return absl::InternalError(Text(scratch, "expected a folder on a disk, that one is in memory"));
  }
  fd_ = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd_ >= 0) return absl::OkStatus();
  if (errno != EOPNOTSUPP && errno != EISDIR) return Failed(scratch, "cannot be made", errno);
  // A file system that knows no files without a name.
  std::string path = absl::StrCat(folder, "/astray-scratch-XXXXXX");
  fd_ = mkostemp(path.data(), O_CLOEXEC);
  if (fd_ < 0) return Failed(scratch, "cannot be made", errno);
  unlink(path.c_str());
  return absl::OkStatus();
}

absl::Status ScratchFile::CheckReserve(const Scratch& scratch, size_t wanted_bytes) const {
  struct statvfs disk {};
  if (fstatvfs(fd_, &disk) != 0) return Failed(scratch, "cannot see how much is free", errno);
  const uint64_t free = uint64_t{disk.f_bavail} * disk.f_frsize;
  if (free >= wanted_bytes && free - wanted_bytes >= scratch.reserve_bytes()) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      Text(scratch, absl::StrCat(free >> 20, " MiB are free, ", wanted_bytes >> 20, " MiB more are wanted and ",
                                 scratch.reserve_bytes() >> 20, " MiB have to stay free")));
}

absl::Status ScratchFile::Grow(const Scratch& scratch, size_t bytes) {
  if (bytes <= bytes_) return absl::OkStatus();
  if (fd_ < 0) RETURN_IF_ERROR(Open(scratch));
  RETURN_IF_ERROR(CheckReserve(scratch, bytes - bytes_));
  const int error = posix_fallocate(fd_, static_cast<off_t>(bytes_), static_cast<off_t>(bytes - bytes_));
  if (error != 0) return Failed(scratch, absl::StrCat("cannot grow to ", bytes >> 20, " MiB"), error);
  void* const data = data_ == nullptr ? mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0)
                                      : mremap(data_, bytes_, bytes, MREMAP_MAYMOVE);
  if (data == MAP_FAILED) return Failed(scratch, absl::StrCat("cannot map ", bytes >> 20, " MiB"), errno);
  data_ = data;
  bytes_ = bytes;
  return absl::OkStatus();
}

}  // namespace astray
