#include "engine/base/scratch_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
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

absl::Status Failed(const std::string& folder, absl::string_view what, int error) {
  const std::string text = absl::StrCat("scratch file in '", folder, "': ", what, ": ", std::strerror(error));
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    return absl::ResourceExhaustedError(absl::StrCat(text, "; --scratch-dir names another folder"));
  }
  return absl::InternalError(absl::StrCat(text, "; --scratch-dir names another folder"));
}

}  // namespace

Scratch::Scratch(std::string folder, size_t memory_bytes)
    : folder_(folder.empty() ? DefaultFolder() : std::move(folder)),
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

absl::Status ScratchFile::Open(const std::string& folder) {
  struct statfs info {};
  if (statfs(folder.c_str(), &info) != 0) return Failed(folder, "cannot be made", errno);
  if (info.f_type == TMPFS_MAGIC || info.f_type == RAMFS_MAGIC) {
    return absl::InternalError(absl::StrCat("scratch file in '", folder,
                                            "': expected a folder on a disk, that one is in memory; --scratch-dir "
                                            "names another folder"));
  }
  fd_ = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd_ >= 0) return absl::OkStatus();
  if (errno != EOPNOTSUPP && errno != EISDIR) return Failed(folder, "cannot be made", errno);
  // A file system that knows no files without a name.
  std::string path = absl::StrCat(folder, "/astray-scratch-XXXXXX");
  fd_ = mkostemp(path.data(), O_CLOEXEC);
  if (fd_ < 0) return Failed(folder, "cannot be made", errno);
  unlink(path.c_str());
  return absl::OkStatus();
}

absl::Status ScratchFile::Grow(const Scratch& scratch, size_t bytes) {
  if (bytes <= bytes_) return absl::OkStatus();
  const std::string& folder = scratch.folder();
  if (fd_ < 0) RETURN_IF_ERROR(Open(folder));
  const int error = posix_fallocate(fd_, static_cast<off_t>(bytes_), static_cast<off_t>(bytes - bytes_));
  if (error != 0) return Failed(folder, absl::StrCat("cannot grow to ", bytes >> 20, " MiB"), error);
  void* const data = data_ == nullptr ? mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0)
                                      : mremap(data_, bytes_, bytes, MREMAP_MAYMOVE);
  if (data == MAP_FAILED) return Failed(folder, absl::StrCat("cannot map ", bytes >> 20, " MiB"), errno);
  data_ = data;
  bytes_ = bytes;
  return absl::OkStatus();
}

}  // namespace astray
