// Memory that the kernel may write to a disk and drop: a temporary file without a name, mapped. For data that may be
// larger than memory.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/status.h"

namespace astray {

// Where large data goes. The default keeps all of it in memory.
struct Scratch {
  bool enabled = false;
  std::string folder;                      // empty: $TMPDIR, or /var/tmp
  size_t above_bytes = size_t{256} << 20;  // an array over this is a file
};

// One mapped file; it is gone with this object, however the process ends. Not thread-safe.
class ScratchFile {
 public:
  ScratchFile() = default;
  ScratchFile(ScratchFile&& other) noexcept;
  ScratchFile& operator=(ScratchFile&& other) noexcept;
  ~ScratchFile();

  // Makes the file, or makes it larger; the bytes it has stay, `data` may move. Its blocks are taken from the disk now,
  // so that writing to the memory cannot fail later. ResourceExhausted where the disk is full, FailedPrecondition where
  // there is no folder or it is in memory (tmpfs); both name the folder and --scratch-dir.
  absl::Status Grow(const Scratch& scratch, size_t bytes);

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  absl::Status Open(const std::string& folder);

  int fd_ = -1;
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace astray
