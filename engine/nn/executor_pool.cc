#include "engine/nn/executor_pool.h"

#include <utility>

namespace astray {

ExecutorPool::Lease::~Lease() {
  if (executor_ == nullptr) return;  // moved from
  absl::MutexLock lock(&pool_->mutex_);
  pool_->idle_.push_back(std::move(executor_));
}

absl::StatusOr<ExecutorPool::Lease> ExecutorPool::Acquire() {
  {
    absl::MutexLock lock(&mutex_);
    if (!idle_.empty()) {
      std::unique_ptr<Executor> executor = std::move(idle_.back());
      idle_.pop_back();
      return Lease(this, std::move(executor));
    }
  }
  absl::StatusOr<std::unique_ptr<Executor>> executor = Executor::Create(network_, dense_layers_);
  if (!executor.ok()) return executor.status();
  return Lease(this, *std::move(executor));
}

}  // namespace astray
