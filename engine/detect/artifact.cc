#include "engine/detect/artifact.h"

#include <algorithm>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/shown_text.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

constexpr size_t kMaxNameBytes = 63;

// Names of the folders in `path`, links to folders among them, unsorted.
absl::StatusOr<std::vector<std::string>> ListFolders(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::directory_iterator entries(path, error);
  std::vector<std::string> names;
  while (!error && entries != std::filesystem::directory_iterator()) {
    std::error_code gone;  // between the listing and here
    if (entries->is_directory(gone)) names.push_back(entries->path().filename().string());
    entries.increment(error);
  }
  if (!error) return names;
  const std::string text = absl::StrCat(path.string(), ": cannot list the folder: ", error.message());
  if (error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory) {
    return absl::NotFoundError(text);
  }
  if (error == std::errc::permission_denied) return absl::PermissionDeniedError(text);
  return absl::InternalError(text);
}

}  // namespace

absl::Status CheckModelName(absl::string_view name) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  const auto allowed = [&](char c) { return plain(c) || c == '_' || c == '.' || c == '-'; };
  if (!name.empty() && name.size() <= kMaxNameBytes && plain(name[0]) &&
      std::all_of(name.begin(), name.end(), allowed)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("model name: expected [a-z0-9][a-z0-9_.-]{0,62}, got '", ShownText(name), "'"));
}

int64_t ParseVersion(absl::string_view text) {
  int64_t version = 0;
  const bool digits = std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (text.empty() || text[0] == '0' || !digits || !absl::SimpleAtoi(text, &version)) return 0;
  return version;
}

absl::StatusOr<std::vector<int64_t>> ListVersions(const std::filesystem::path& base_path, absl::string_view name) {
  RETURN_IF_ERROR(CheckModelName(name));
  ASSIGN_OR_RETURN(const std::vector<std::string> folders, ListFolders(base_path / std::string(name)));
  std::vector<int64_t> versions;
  for (const std::string& folder : folders) {
    if (const int64_t version = ParseVersion(folder); version > 0) versions.push_back(version);
  }
  std::sort(versions.begin(), versions.end());
  return versions;
}

absl::StatusOr<std::vector<std::string>> ListModelNames(const std::filesystem::path& base_path) {
  ASSIGN_OR_RETURN(std::vector<std::string> names, ListFolders(base_path));
  std::erase_if(names, [](const std::string& name) { return !CheckModelName(name).ok(); });
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace astray
