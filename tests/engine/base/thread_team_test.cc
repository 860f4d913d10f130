#include "engine/base/thread_team.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace astray {
namespace {

TEST(ThreadTeam, RunsEveryTaskOnceAndWaitsForAll) {
  for (const size_t threads : {0, 1, 2, 5}) {
    ThreadTeam team(threads);
    EXPECT_EQ(team.threads(), std::max<size_t>(threads, 1));
    // Not atomic: Run is what makes it visible.
    std::vector<int> runs(37);
    for (int round = 1; round <= 2000; ++round) {
      const size_t tasks = static_cast<size_t>(round) % runs.size() + 1;
      std::fill(runs.begin(), runs.end(), 0);
      team.Run(tasks, [&](size_t i) { ++runs[i]; });
      for (size_t i = 0; i < runs.size(); ++i) ASSERT_EQ(runs[i], i < tasks ? 1 : 0) << round;
    }
  }
}

TEST(ThreadTeam, TasksOfOneRunAreShared) {
  ThreadTeam team(2);
  std::atomic<int> arrived = 0;
  // Each waits for the other: one thread alone would not get there.
  team.Run(2, [&](size_t) {
    ++arrived;
    while (arrived < 2) std::this_thread::yield();
  });
  EXPECT_EQ(arrived, 2);
}

TEST(ThreadTeam, SleepersWakeUp) {
  ThreadTeam team(3);
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::atomic<size_t> sum = 0;
    team.Run(100, [&](size_t i) { sum += i; });
    EXPECT_EQ(sum, 4950u);
  }
}

TEST(ThreadTeam, NoneIsTheCaller) {
  const std::thread::id caller = std::this_thread::get_id();
  size_t tasks = 0;
  RunOn(nullptr, 3, [&](size_t) { tasks += std::this_thread::get_id() == caller ? 1 : 0; });
  EXPECT_EQ(tasks, 3u);
}

}  // namespace
}  // namespace astray
