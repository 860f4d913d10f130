// A folder for the files of one test, one fuzz target or one benchmark. Needs no gtest.
#pragma once

#include <filesystem>

namespace astray {

// Made empty and unlike any other under `parent`, by default that of TMPDIR; goes with all that is in it. Owners
// declare it before whatever writes there, so that it goes last. Where it cannot be made the process aborts, and where
// it cannot be removed it says so on standard error. Of a process that is killed, it stays.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::filesystem::path& parent = std::filesystem::temp_directory_path());
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace astray
