// Threads that do one piece of work together and wait for each other: for loops of microseconds, run thousands of
// times.
//
// What is computed must not depend on who computes it: cut work by its size, never by the number of threads.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace astray {

class ThreadTeam {
 public:
  static constexpr size_t kMaxTasks = (size_t{1} << 20) - 1;

  // `threads` with the one that calls Run; 0 and 1 start none. Idle threads spin for some microseconds, then sleep.
  explicit ThreadTeam(size_t threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  size_t threads() const { return workers_.size() + 1; }

  // Calls task(0) ... task(tasks - 1) once each, in any order and on any thread, and returns when all are done. At most
  // kMaxTasks. From one thread at a time, never from a task; tasks throw nothing. Allocates nothing.
  void Run(size_t tasks, absl::FunctionRef<void(size_t)> task);

 private:
  void Work();
  bool TakeTask();

  // Run's number (24 bits), its tasks (20) and the next of them (20) in one word: a thread that comes late can not take
  // a task of one run for a task of another.
  std::atomic<uint64_t> ticket_{0};
  std::atomic<size_t> done_{0};
  std::atomic<bool> stopping_{false};
  const absl::FunctionRef<void(size_t)>* task_ = nullptr;  // valid while a task of the ticket's run is not done
  std::vector<std::thread> workers_;
};

// Where `team` may be null: the caller alone.
inline void RunOn(ThreadTeam* team, size_t tasks, absl::FunctionRef<void(size_t)> task) {
  if (team != nullptr) return team->Run(tasks, task);
  for (size_t i = 0; i < tasks; ++i) task(i);
}

}  // namespace astray
