#include "server/background_lane.h"

#include <sys/resource.h>

#include <utility>

namespace astray {

BackgroundLane::~BackgroundLane() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

bool BackgroundLane::HasRoom(size_t values) {
  absl::MutexLock lock(&mutex_);
  return !stopping_ && values_ + values <= max_values_;
}

bool BackgroundLane::TryAdd(size_t values, std::function<void()> work) {
  absl::MutexLock lock(&mutex_);
  if (stopping_ || values_ + values > max_values_) return false;
  values_ += values;
  work_.push_back({values, std::move(work)});
  return true;
}

void BackgroundLane::AwaitIdle() {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(this, &BackgroundLane::IsIdle));
}

void BackgroundLane::Run() {
  // Of this thread alone, on Linux. Where it is refused, the bound still holds.
  static_cast<void>(setpriority(PRIO_PROCESS, 0, 10));
  while (true) {
    Work work;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &BackgroundLane::HasWorkOrStops));
      if (stopping_) return;
      work = std::move(work_.front());
      work_.pop_front();
      running_ = true;
    }
    work.run();
    work.run = nullptr;  // frees what it held before it counts as done
    absl::MutexLock lock(&mutex_);
    running_ = false;
    values_ -= work.values;
  }
}

}  // namespace astray
