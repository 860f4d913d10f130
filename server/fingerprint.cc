#include "server/fingerprint.h"

#include <sys/stat.h>

#include <algorithm>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace astray {

std::string FileFingerprint(const std::filesystem::path& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return "";
  return absl::StrCat(info.st_ino, ":", info.st_size, ":", info.st_mtim.tv_sec, ".", info.st_mtim.tv_nsec, ":",
                      info.st_ctim.tv_sec, ".", info.st_ctim.tv_nsec);
}

std::string FolderFingerprint(const std::filesystem::path& path) {
  std::vector<std::string> files;
  std::error_code error;
  std::filesystem::directory_iterator it(path, error);
  for (; !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    files.push_back(absl::StrCat(it->path().filename().string(), "=", FileFingerprint(it->path())));
  }
  if (error) return "";
  std::sort(files.begin(), files.end());
  return absl::StrCat("/", absl::StrJoin(files, "/"));
}

}  // namespace astray
