#include "engine/data/byte_source.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/data/follow_source.h"

namespace astray {
namespace {

class FileSource : public ByteSource {
 public:
  FileSource(int fd, int stop_fd, std::string name) : fd_(fd), stop_fd_(stop_fd), name_(std::move(name)) {}
  ~FileSource() override {
    if (fd_ != STDIN_FILENO) close(fd_);
  }
  absl::StatusOr<size_t> Read(char* out, size_t size) override {
    for (;;) {
      if (stop_fd_ >= 0 && Stopped()) return absl::CancelledError("stopped");
      const ssize_t got = read(fd_, out, size);
      if (got >= 0) return static_cast<size_t>(got);
      if (errno != EINTR) return absl::InternalError(absl::StrCat(name_, ": cannot read: ", std::strerror(errno)));
    }
  }

 private:
  // Waits for bytes or for the stop.
  bool Stopped() const {
    std::array<pollfd, 2> waits = {{{fd_, POLLIN, 0}, {stop_fd_, POLLIN, 0}}};
    while (poll(waits.data(), waits.size(), -1) < 0 && errno == EINTR) continue;
    return waits[1].revents != 0;
  }

  int fd_, stop_fd_;
  std::string name_;
};

class StreamSource : public ByteSource {
 public:
  explicit StreamSource(std::istream* input) : input_(input) {}
  absl::StatusOr<size_t> Read(char* out, size_t size) override {
    input_->read(out, static_cast<std::streamsize>(size));
    return static_cast<size_t>(input_->gcount());
  }

 private:
  std::istream* input_;
};

// Passes bytes through, or inflates them where they begin as gzip does.
class InflatingSource : public ByteSource {
 public:
  InflatingSource(std::unique_ptr<ByteSource> source, std::string name)
      : source_(std::move(source)), name_(std::move(name)), buffer_(64 << 10) {}
  ~InflatingSource() override {
    if (format_ == Format::kGzip) inflateEnd(&zlib_);
  }

  absl::StatusOr<size_t> Read(char* out, size_t size) override {
    if (format_ == Format::kUnknown) RETURN_IF_ERROR(Detect());
    if (format_ == Format::kPlain) return ReadPlain(out, size);
    return Inflate(out, size);
  }

 private:
  enum class Format { kUnknown, kPlain, kGzip };

  // True unless the source is at its end.
  absl::StatusOr<bool> Fill() {
    begin_ = 0;
    ASSIGN_OR_RETURN(end_, source_->Read(buffer_.data(), buffer_.size()));
    return end_ > 0;
  }

  absl::Status Detect() {
    while (end_ < 2) {
      ASSIGN_OR_RETURN(const size_t got, source_->Read(buffer_.data() + end_, buffer_.size() - end_));
      if (got == 0) break;
      end_ += got;
    }
    format_ = Format::kPlain;
    if (end_ >= 2 && buffer_[0] == '\x1f' && buffer_[1] == '\x8b') {
      constexpr int kGzipOnly = 16;
      if (inflateInit2(&zlib_, MAX_WBITS + kGzipOnly) != Z_OK) return absl::InternalError("zlib: cannot start");
      format_ = Format::kGzip;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<size_t> ReadPlain(char* out, size_t size) {
    if (begin_ == end_) return source_->Read(out, size);
    const size_t count = std::min(size, end_ - begin_);
    std::memcpy(out, buffer_.data() + begin_, count);
    begin_ += count;
    return count;
  }

  absl::StatusOr<size_t> Inflate(char* out, size_t size) {
    zlib_.next_out = reinterpret_cast<Bytef*>(out);
    zlib_.avail_out = static_cast<uInt>(size);
    while (zlib_.avail_out == size) {
      if (begin_ == end_) {
        ASSIGN_OR_RETURN(const bool more, Fill());
        if (!more) {
          if (!inside_member_) return size_t{0};
          return absl::InvalidArgumentError(absl::StrCat(name_, ": gzip: expected more bytes, the file is cut off"));
        }
      }
      inside_member_ = true;
      zlib_.next_in = reinterpret_cast<Bytef*>(buffer_.data() + begin_);
      zlib_.avail_in = static_cast<uInt>(end_ - begin_);
      const int result = inflate(&zlib_, Z_NO_FLUSH);
      begin_ = end_ - zlib_.avail_in;
      if (result == Z_STREAM_END) {
        inside_member_ = false;
        inflateReset(&zlib_);  // another member may follow
      } else if (result != Z_OK && result != Z_BUF_ERROR) {
        return absl::InvalidArgumentError(
            absl::StrCat(name_, ": gzip: damaged data", zlib_.msg == nullptr ? "" : ": ", zlib_.msg ? zlib_.msg : ""));
      }
    }
    return size - zlib_.avail_out;
  }

  std::unique_ptr<ByteSource> source_;
  std::string name_;
  Format format_ = Format::kUnknown;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;
  z_stream zlib_{};
  bool inside_member_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ByteSource>> ByteSource::Open(const std::string& path, int stop_fd) {
  int fd = STDIN_FILENO;
  const std::string name = path == "-" ? "standard input" : path;
  if (path != "-") {
    fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      const std::string text = absl::StrCat(path, ": cannot open: ", std::strerror(errno));
      if (errno == ENOENT || errno == ENOTDIR) return absl::NotFoundError(text);
      return absl::PermissionDeniedError(text);
    }
    struct stat info {};
    if (fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) {
      close(fd);
      return absl::InvalidArgumentError(absl::StrCat(path, ": expected a file, got a folder"));
    }
  }
  return std::make_unique<InflatingSource>(std::make_unique<FileSource>(fd, stop_fd, name), name);
}

absl::StatusOr<std::unique_ptr<ByteSource>> ByteSource::Open(const std::string& path, int stop_fd, bool follow) {
  if (!follow) return Open(path, stop_fd);
  if (path == "-") return absl::InvalidArgumentError("standard input: expected a file to follow");
  return std::make_unique<FollowSource>(path, stop_fd);
}

std::unique_ptr<ByteSource> ByteSource::FromStream(std::istream* input, std::string name) {
  return std::make_unique<InflatingSource>(std::make_unique<StreamSource>(input), std::move(name));
}

}  // namespace astray
