// One thread of low priority for work that may be left out: what exceeds the bound is refused, nobody ever waits for
// it. Runs in order. Thread-safe.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace astray {

class BackgroundLane {
 public:
  // max_values: floats that may wait, all work together.
  explicit BackgroundLane(size_t max_values) : max_values_(max_values), thread_([this] { Run(); }) {}
  ~BackgroundLane();  // finishes what runs, drops what waits

  bool HasRoom(size_t values) ABSL_LOCKS_EXCLUDED(mutex_);  // now
  // False where what waits would hold more than max_values; `work` is then not called.
  bool TryAdd(size_t values, std::function<void()> work) ABSL_LOCKS_EXCLUDED(mutex_);

  // Until what was added before has run.
  void AwaitIdle() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Work {
    size_t values;
    std::function<void()> run;
  };
  void Run() ABSL_LOCKS_EXCLUDED(mutex_);
  bool HasWorkOrStops() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_ || !work_.empty(); }
  bool IsIdle() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !running_ && work_.empty(); }

  const size_t max_values_;
  absl::Mutex mutex_;
  std::deque<Work> work_ ABSL_GUARDED_BY(mutex_);
  size_t values_ ABSL_GUARDED_BY(mutex_) = 0;  // of work_ and of what runs
  bool running_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace astray
