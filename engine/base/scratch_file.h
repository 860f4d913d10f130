// Memory that the kernel may write to a disk and drop: a temporary file without a name, mapped. For data that may be
// larger than memory.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"

namespace astray {

// Where large data goes: into memory up to a limit that all arrays of a scratch share, then into files. The default has
// no limit. Copies share the limit; thread-safe.
class Scratch {
 public:
  static constexpr size_t kDefaultMemory = size_t{128} << 20;

  Scratch() = default;
  // folder: empty for $TMPDIR, or /var/tmp.
  explicit Scratch(std::string folder, size_t memory_bytes = kDefaultMemory);

  bool limited() const { return left_ != nullptr; }
  const std::string& folder() const { return folder_; }

  // Whether so many bytes of memory may be used; Return gives them back.
  bool Take(size_t bytes) const;
  void Return(size_t bytes) const;

 private:
  std::string folder_;
  std::shared_ptr<std::atomic<int64_t>> left_;  // bytes; null: no limit
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
