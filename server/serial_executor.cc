#include "server/serial_executor.h"

#include <utility>

namespace astray {

void SerialExecutor::Shutdown() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void SerialExecutor::Add(std::function<void()> work) {
  {
    absl::MutexLock lock(&mutex_);
    if (!stopping_) {
      work_.push_back(std::move(work));
      return;
    }
  }
  work();
}

void SerialExecutor::Run() {
  while (true) {
    std::function<void()> work;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &SerialExecutor::HasWorkOrStops));
      if (work_.empty()) return;
      work = std::move(work_.front());
      work_.pop_front();
    }
    work();
  }
}

}  // namespace astray
