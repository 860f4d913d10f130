// Reading and writing whole files so that a crash leaves the old content or the new, never a mixture.
//
// Errors name the path: NotFound where it is missing, FailedPrecondition where it is not what was expected,
// Internal/PermissionDenied with the system's reason otherwise.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace astray {

// Reads a regular file of at most `max_bytes`; the size is checked before anything is allocated.
absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path, uint64_t max_bytes);

// Writes a hidden temporary file beside `path`, fsyncs it, renames it over `path`, fsyncs the folder.
// A killed process may leave the temporary file behind; it is in nobody's way.
absl::Status WriteFileAtomically(const std::filesystem::path& path, absl::string_view content);

// Appends to a file of `size` bytes, or makes it where `size` is 0 and there is none. Durable when it returns.
// FailedPrecondition where the file has another size. After an error the file may end in a part of `content`.
absl::Status AppendToFile(const std::filesystem::path& path, uint64_t size, absl::string_view content);

// Makes a folder, where there is none, in one that is there. It survives a crash of the system.
absl::Status CreateFolder(const std::filesystem::path& path);
// The same with the folders above it.
absl::Status CreateFolders(const std::filesystem::path& path);

// A folder that becomes visible under its final name all at once.
// Create makes the folders above it; files are added to a hidden temporary sibling; Commit fsyncs and renames it, the
// destructor removes what was not committed. Commit fails with AlreadyExists where `final_path` exists.
// A killed process leaves its sibling behind: readers pass over names that begin with a dot.
class StagedDirectory {
 public:
  static absl::StatusOr<StagedDirectory> Create(std::filesystem::path final_path);
  StagedDirectory(StagedDirectory&& other) noexcept;
  StagedDirectory& operator=(StagedDirectory&&) = delete;
  ~StagedDirectory();

  const std::filesystem::path& path() const { return staging_path_; }
  absl::Status Write(absl::string_view file_name, absl::string_view content);  // fsynced
  absl::Status Commit();

 private:
  explicit StagedDirectory(std::filesystem::path final_path, std::filesystem::path staging_path);
  std::filesystem::path final_path_;
  std::filesystem::path staging_path_;  // empty once committed or moved from
};

}  // namespace astray
