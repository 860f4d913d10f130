#include "server/serial_executor.h"

#include <gtest/gtest.h>

#include <vector>

namespace astray {
namespace {

TEST(SerialExecutor, DoesAllInOrderAndAfterShutdownAtOnce) {
  std::vector<int> done;
  SerialExecutor executor;
  for (int i = 0; i < 100; ++i) executor.Add([&done, i] { done.push_back(i); });
  executor.Shutdown();
  ASSERT_EQ(done.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(done[static_cast<size_t>(i)], i);
  executor.Add([&done] { done.push_back(100); });
  EXPECT_EQ(done.back(), 100);
  executor.Shutdown();
}

}  // namespace
}  // namespace astray
