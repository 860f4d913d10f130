// Cheap signs that files changed, by what stat says of them.
#pragma once

#include <filesystem>
#include <string>

namespace astray {

// Differs once a file is replaced, written or removed. Empty where there is none.
std::string FileFingerprint(const std::filesystem::path& path);

// Of the folder's own files, names included. Empty where there is no folder that can be read.
std::string FolderFingerprint(const std::filesystem::path& path);

}  // namespace astray
