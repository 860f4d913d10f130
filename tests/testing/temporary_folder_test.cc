#include "tests/testing/temporary_folder.h"

#include <gtest/gtest.h>

#include <fstream>

namespace astray {
namespace {

TEST(TemporaryFolder, IsEmptyUnlikeAnyOtherAndGoesWithAllThatIsInIt) {
  const TemporaryFolder parent;
  EXPECT_EQ(parent.path().parent_path(), std::filesystem::temp_directory_path());
  {
    const TemporaryFolder first(parent.path()), second(parent.path());
    EXPECT_NE(first.path(), second.path());
    EXPECT_TRUE(std::filesystem::is_empty(first.path()));
    std::filesystem::create_directories(first.path() / "models" / "pump");
    std::ofstream(first.path() / "models" / "pump" / "file") << "x";
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(parent.path()), {}), 2);
  }
  EXPECT_TRUE(std::filesystem::is_empty(parent.path()));
}

}  // namespace
}  // namespace astray
