// A file that grows, as `tail -n +1 -F` reads it: from its beginning, then what is written to its end, for ever.
//
// - The file may be missing, at first and between; it is waited for.
// - Another file under the name (renamed and created anew) is read from its beginning, once the old one is read to its
// end.
// - A file that is shorter than what was read of it (truncated in place) is read from its beginning. One that has grown
//   past that again within kPollPeriod cannot be told from one that only grew.
// - A last line without a newline gets one where its file ends so: lines of two files are never glued together.
//
// Not for gzip, pipes and folders: InvalidArgument that names the path. The file is polled.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/data/byte_source.h"

namespace astray {

class FollowSource : public ByteSource {
 public:
  static constexpr absl::Duration kPollPeriod = absl::Milliseconds(100);

  // stop_fd: ByteSource's, and with -1 there is no end.
  FollowSource(std::string path, int stop_fd) : path_(std::move(path)), stop_fd_(stop_fd) {}
  ~FollowSource() override;
  FollowSource(const FollowSource&) = delete;
  FollowSource& operator=(const FollowSource&) = delete;

  // Never 0: it waits instead.
  absl::StatusOr<size_t> Read(char* out, size_t size) override;

 private:
  absl::StatusOr<size_t> ReadHere(char* out, size_t size);  // 0 where the file ends, for now
  absl::Status Open();                                      // leaves fd_ at -1 where there is no file
  // Whether the file is over: truncated, or another one is under its name.
  bool IsTruncated() const;
  bool IsReplaced() const;

  std::string path_;
  int stop_fd_;
  int fd_ = -1;
  uint64_t offset_ = 0;  // in this file
  char last_ = '\n';     // of the bytes given
};

}  // namespace astray
