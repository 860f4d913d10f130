#include "tests/testing/temporary_folder.h"

#include <stdlib.h>

#include <cstdio>
#include <string>
#include <system_error>

namespace astray {

TemporaryFolder::TemporaryFolder(const std::filesystem::path& parent) {
  std::string path = (parent / "astray-XXXXXX").string();
  if (mkdtemp(path.data()) == nullptr) {
    std::perror(path.c_str());
    std::abort();
  }
  path_ = path;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
  if (error) std::fprintf(stderr, "%s: cannot be removed: %s\n", path_.c_str(), error.message().c_str());
}

}  // namespace astray
