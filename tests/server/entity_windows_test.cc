#include "server/entity_windows.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace astray {
namespace {

TEST(EntityWindows, KeepsEachEntitysRows) {
  Metrics metrics;
  EntityWindows windows(2, 3, &metrics);
  const std::vector<float> row = {1, 2};
  windows.Of("a").Extend(row);
  windows.Of("b").Extend(row);
  windows.Of("a").Extend(row);
  EXPECT_EQ(windows.Of("a").warming_up_rows(), 1u);
  EXPECT_EQ(windows.Of("a").Extend(row).size(), 6u);
  EXPECT_EQ(windows.Of("a").warming_up_rows(), 0u);
  EXPECT_EQ(windows.Of("b").Extend(row).size(), 4u);
  EXPECT_EQ(windows.size(), 2u);
  EXPECT_EQ(metrics.stream_entities().Value(), 2);
}

TEST(EntityWindows, MemoryIsBoundedByTheWindowsSize) {
  Metrics metrics;
  EXPECT_EQ(EntityWindows(1, 1, &metrics).capacity(), EntityWindows::kMaxEntities);
  EXPECT_EQ(EntityWindows(1024, 16, &metrics).capacity(), 1024u);
  EXPECT_EQ(EntityWindows(65536, 1, &metrics).capacity(), EntityWindows::kMinEntities);
}

TEST(EntityWindows, DropsTheOneSilentLongest) {
  Metrics metrics;
  {
    EntityWindows windows(65536, 1, &metrics);
    for (size_t i = 0; i < windows.capacity(); ++i) windows.Of(absl::StrCat(i));
    RowHistory* first = &windows.Of("0");  // no longer silent
    windows.Of("new");
    EXPECT_EQ(windows.size(), windows.capacity());
    EXPECT_EQ(metrics.stream_entities_dropped().Value(), 1);
    EXPECT_EQ(&windows.Of("0"), first) << "another was dropped";
    EXPECT_EQ(metrics.stream_entities().Value(), static_cast<double>(windows.capacity()));
    for (int i = 0; i < 100'000; ++i) windows.Of(absl::StrCat("x", i));
    EXPECT_EQ(windows.size(), windows.capacity());
  }
  EXPECT_EQ(metrics.stream_entities().Value(), 0) << "a stream that ends takes its windows along";
}

}  // namespace
}  // namespace astray
