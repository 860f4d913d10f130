// Bytes from a file, standard input or a stream, inflated where they are gzip (by their magic bytes).
#pragma once

#include <cstddef>
#include <istream>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace astray {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Up to `size` bytes into `out`, at least one; 0 at the end. Gives what is there rather than wait for more.
  virtual absl::StatusOr<size_t> Read(char* out, size_t size) = 0;

  // "-" is standard input. NotFound, PermissionDenied, or InvalidArgument for a folder; errors name the path.
  // Once something can be read from stop_fd, every Read, one that waits too, is Cancelled.
  static absl::StatusOr<std::unique_ptr<ByteSource>> Open(const std::string& path, int stop_fd = -1);
  // The same, or with `follow` a FollowSource: a file that grows and rotates, without an end.
  static absl::StatusOr<std::unique_ptr<ByteSource>> Open(const std::string& path, int stop_fd, bool follow);
  static std::unique_ptr<ByteSource> FromStream(std::istream* input, std::string name);
};

}  // namespace astray
