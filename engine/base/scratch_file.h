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
  static constexpr size_t kDefaultReserve = size_t{1} << 30;

  Scratch() = default;
  // folder: empty for $TMPDIR, or /var/tmp. Its files leave `reserve_bytes` of the disk to others: what is read may be
  // any size, a few MB of gzip too.
  explicit Scratch(std::string folder, size_t memory_bytes = kDefaultMemory, size_t reserve_bytes = kDefaultReserve);

  bool limited() const { return left_ != nullptr; }
  const std::string& folder() const { return folder_; }
  size_t reserve_bytes() const { return reserve_bytes_; }
  // What names another folder: "--scratch-dir", and TMPDIR where that would have been asked.
  const char* folder_choice() const { return folder_choice_; }

  // Whether so many bytes of memory may be used; Return gives them back.
  bool Take(size_t bytes) const;
  void Return(size_t bytes) const;

 private:
  const char* folder_choice_ = "";
  std::string folder_;
  size_t reserve_bytes_ = 0;
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
  // so that writing to the memory cannot fail later. ResourceExhausted where the disk is full, or would have less than
  // the scratch's reserve left; Internal where there is no folder or it is in memory (tmpfs). They name the folder and
  // what chooses another one. The file then stays as it is.
  absl::Status Grow(const Scratch& scratch, size_t bytes);

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  absl::Status Open(const Scratch& scratch);
  absl::Status CheckReserve(const Scratch& scratch, size_t wanted_bytes) const;

  int fd_ = -1;
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace astray
