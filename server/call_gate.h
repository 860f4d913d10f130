// Counts calls in flight and, from a drain on, lets no more in. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace astray {

class CallGate {
 public:
  // False while draining. Leave must follow each Enter that returned true.
  bool Enter() {
    if ((state_.fetch_add(1, std::memory_order_acq_rel) & kClosed) == 0) return true;
    Leave();
    return false;
  }
  void Leave() {
    // Only a drain waits: its mutex, once unlocked, looks at the condition again.
    if ((state_.fetch_sub(1, std::memory_order_acq_rel) & kClosed) != 0) absl::MutexLock lock(&mutex_);
  }
  void Close() { state_.fetch_or(kClosed, std::memory_order_acq_rel); }
  // False where calls are still in flight after `timeout`. Of a closed gate.
  bool AwaitEmpty(absl::Duration timeout) {
    absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithTimeout(absl::Condition(this, &CallGate::Empty), timeout);
  }

 private:
  static constexpr uint64_t kClosed = uint64_t{1} << 63;

  bool Empty() const { return state_.load(std::memory_order_acquire) == kClosed; }

  std::atomic<uint64_t> state_{0};  // calls inside, and whether it is closed
  absl::Mutex mutex_;
};

}  // namespace astray
