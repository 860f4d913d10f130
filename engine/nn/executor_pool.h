// Executors of one network for many threads: Acquire takes an idle one or makes one. They share the packed weights of
// dense layers. Thread-safe.
#pragma once

#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "engine/nn/executor.h"
#include "engine/nn/network.h"

namespace astray {

class ExecutorPool {
 public:
  // Returns its executor to the pool when destroyed. The pool must outlive it.
  class Lease {
   public:
    Lease(ExecutorPool* pool, std::unique_ptr<Executor> executor) : pool_(pool), executor_(std::move(executor)) {}
    Lease(Lease&&) noexcept = default;
    Lease& operator=(Lease&&) = delete;
    ~Lease();
    Executor* operator->() const { return executor_.get(); }
    Executor& operator*() const { return *executor_; }

   private:
    ExecutorPool* pool_;
    std::unique_ptr<Executor> executor_;
  };

  explicit ExecutorPool(Network network) : network_(std::move(network)), dense_layers_(PackDenseLayers(network_)) {}

  absl::StatusOr<Lease> Acquire() ABSL_LOCKS_EXCLUDED(mutex_);
  const Network& network() const { return network_; }

 private:
  const Network network_;
  const std::shared_ptr<const PackedDenseLayers> dense_layers_;
  absl::Mutex mutex_;
  std::vector<std::unique_ptr<Executor>> idle_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace astray
