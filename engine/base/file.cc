#include "engine/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

absl::Status SystemError(const std::filesystem::path& path, absl::string_view action, int error) {
  const std::string text = absl::StrCat(path.string(), ": cannot ", action, ": ", std::strerror(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(text);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(text);
    case EEXIST:
    case ENOTEMPTY:
      return absl::AlreadyExistsError(text);
    default:
      return absl::InternalError(text);
  }
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

absl::Status SyncDirectory(const std::filesystem::path& path) {
  const std::filesystem::path directory = path.empty() ? "." : path;
  FileDescriptor fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0) return SystemError(directory, "open the folder", errno);
  if (fsync(fd.get()) != 0) return SystemError(directory, "sync the folder", errno);
  return absl::OkStatus();
}

// A hidden sibling that no other live process or thread takes.
std::filesystem::path TemporarySibling(const std::filesystem::path& path) {
  static std::atomic<uint64_t> counter{0};
  return path.parent_path() /
         absl::StrCat(".", path.filename().string(), ".", getpid(), "-", counter.fetch_add(1), ".tmp");
}

// Calls `create` with new names until one is free, and leaves that name in `temporary`. In a container every run has
// the same pid, so a killed one leaves names behind that this one comes to.
template <typename Create>
absl::Status CreateTemporarySibling(const std::filesystem::path& path, Create create,
                                    std::filesystem::path* temporary) {
  absl::Status status;
  do {
    *temporary = TemporarySibling(path);
    status = create(*temporary);
  } while (absl::IsAlreadyExists(status));
  return status;
}

// Fails with EEXIST where `to` exists. Some file systems do not know the flag; their plain rename refuses at least to
// replace a folder that has files.
int RenameWithoutReplacing(const std::filesystem::path& from, const std::filesystem::path& to) {
  const int result = renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE);
  if (result != 0 && (errno == EINVAL || errno == ENOSYS)) return rename(from.c_str(), to.c_str());
  return result;
}

absl::Status WriteAndSync(int fd, const std::filesystem::path& path, absl::string_view content) {
  while (!content.empty()) {
    const ssize_t written = write(fd, content.data(), content.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return SystemError(path, "write", errno);
    }
    content.remove_prefix(static_cast<size_t>(written));
  }
  if (fsync(fd) != 0) return SystemError(path, "sync", errno);
  return absl::OkStatus();
}

absl::Status WriteNewFile(const std::filesystem::path& path, absl::string_view content) {
  FileDescriptor fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (fd.get() < 0) return SystemError(path, "create", errno);
  return WriteAndSync(fd.get(), path, content);
}

}  // namespace

absl::Status CreateFolder(const std::filesystem::path& path) {
  if (mkdir(path.c_str(), 0755) == 0) return SyncDirectory(path.parent_path());
  const int error = errno;
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return absl::OkStatus();
  return SystemError(path, "create the folder", error == EEXIST ? ENOTDIR : error);
}

absl::Status CreateFolders(const std::filesystem::path& path) {
  std::error_code ignored;
  if (path.empty() || std::filesystem::is_directory(path, ignored)) return absl::OkStatus();
  RETURN_IF_ERROR(CreateFolders(path.parent_path()));
  return CreateFolder(path);
}

absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path, uint64_t max_bytes) {
  // Not blocking: a fifo of this name must not hang the reader.
  FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return SystemError(path, "open", errno);
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return SystemError(path, "stat", errno);
  if (!S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(path.string(), ": expected a regular file"));
  }
  if (static_cast<uint64_t>(info.st_size) > max_bytes) {
    return absl::FailedPreconditionError(
        absl::StrCat(path.string(), ": expected at most ", max_bytes, " bytes, got ", info.st_size));
  }
  std::string content(static_cast<size_t>(info.st_size), '\0');
  size_t size = 0;
  while (size < content.size()) {
    const ssize_t got = read(fd.get(), content.data() + size, content.size() - size);
    if (got < 0) {
      if (errno == EINTR) continue;
      return SystemError(path, "read", errno);
    }
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  content.resize(size);
  return content;
}

absl::Status WriteFileAtomically(const std::filesystem::path& path, absl::string_view content) {
  std::filesystem::path temporary;
  absl::Status status = CreateTemporarySibling(
      path, [&](const std::filesystem::path& free) { return WriteNewFile(free, content); }, &temporary);
  if (status.ok() && rename(temporary.c_str(), path.c_str()) != 0) status = SystemError(path, "replace", errno);
  if (!status.ok()) {
    unlink(temporary.c_str());
    return status;
  }
  return SyncDirectory(path.parent_path());
}

absl::Status AppendToFile(const std::filesystem::path& path, uint64_t size, absl::string_view content) {
  const int create = size == 0 ? O_CREAT : 0;
  FileDescriptor fd(open(path.c_str(), O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC | create, 0644));
  if (fd.get() < 0) return SystemError(path, "open", errno);
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return SystemError(path, "stat", errno);
  if (!S_ISREG(info.st_mode) || static_cast<uint64_t>(info.st_size) != size) {
    return absl::FailedPreconditionError(
        absl::StrCat(path.string(), ": expected a regular file of ", size, " bytes, got ", info.st_size));
  }
  if (absl::Status status = WriteAndSync(fd.get(), path, content); !status.ok()) {
    // Whoever reads it copes with a part of `content`; without one there is less to cope with.
    static_cast<void>(ftruncate(fd.get(), static_cast<off_t>(size)) == 0);
    return status;
  }
  return size == 0 ? SyncDirectory(path.parent_path()) : absl::OkStatus();
}

StagedDirectory::StagedDirectory(std::filesystem::path final_path, std::filesystem::path staging_path)
    : final_path_(std::move(final_path)), staging_path_(std::move(staging_path)) {}

StagedDirectory::StagedDirectory(StagedDirectory&& other) noexcept
    : final_path_(std::move(other.final_path_)), staging_path_(std::exchange(other.staging_path_, {})) {}

StagedDirectory::~StagedDirectory() {
  if (staging_path_.empty()) return;
  std::error_code ignored;
  std::filesystem::remove_all(staging_path_, ignored);
}

absl::StatusOr<StagedDirectory> StagedDirectory::Create(std::filesystem::path final_path) {
  RETURN_IF_ERROR(CreateFolders(final_path.parent_path()));
  std::filesystem::path staging;
  const auto create = [](const std::filesystem::path& free) {
    return mkdir(free.c_str(), 0755) == 0 ? absl::OkStatus() : SystemError(free, "create the folder", errno);
  };
  RETURN_IF_ERROR(CreateTemporarySibling(final_path, create, &staging));
  return StagedDirectory(std::move(final_path), std::move(staging));
}

absl::Status StagedDirectory::Write(absl::string_view file_name, absl::string_view content) {
  return WriteNewFile(staging_path_ / std::string(file_name), content);
}

absl::Status StagedDirectory::Commit() {
  RETURN_IF_ERROR(SyncDirectory(staging_path_));
  // Of two writers of one version, exactly one wins.
  if (RenameWithoutReplacing(staging_path_, final_path_) != 0) {
    return SystemError(final_path_, "create", errno);
  }
  staging_path_.clear();
  return SyncDirectory(final_path_.parent_path());
}

}  // namespace astray
