#include "engine/base/thread_team.h"

#include <hwy/cache_control.h>

namespace astray {
namespace {

constexpr int kSpins = 1000;  // some 40 us; waking a sleeper costs about as much

constexpr int kBits = 20;
constexpr uint64_t kMask = (uint64_t{1} << kBits) - 1;
uint64_t NextOf(uint64_t ticket) { return ticket & kMask; }
uint64_t TasksOf(uint64_t ticket) { return (ticket >> kBits) & kMask; }
uint64_t RunOf(uint64_t ticket) { return ticket >> (2 * kBits); }

}  // namespace

ThreadTeam::ThreadTeam(size_t threads) {
  for (size_t i = 1; i < threads; ++i) workers_.emplace_back([this] { Work(); });
}

ThreadTeam::~ThreadTeam() {
  stopping_ = true;
  ticket_ = (RunOf(ticket_) + 1) << (2 * kBits);
  ticket_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

// False where no task is left to take.
bool ThreadTeam::TakeTask() {
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  do {
    if (NextOf(ticket) >= TasksOf(ticket)) return false;
  } while (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel));
  const size_t tasks = TasksOf(ticket);
  (*task_)(NextOf(ticket));
  if (done_.fetch_add(1, std::memory_order_acq_rel) + 1 == tasks) done_.notify_one();
  return true;
}

void ThreadTeam::Work() {
  while (true) {
    const uint64_t seen = ticket_.load(std::memory_order_acquire);
    while (TakeTask()) {
    }
    if (stopping_.load(std::memory_order_acquire)) return;
    // Only a new run matters, not that others take tasks of this one.
    uint64_t ticket = ticket_.load(std::memory_order_acquire);
    for (int i = 0; i < kSpins && RunOf(ticket) == RunOf(seen); ++i) {
      hwy::Pause();
      ticket = ticket_.load(std::memory_order_acquire);
    }
    if (RunOf(ticket) == RunOf(seen)) ticket_.wait(ticket, std::memory_order_acquire);
  }
}

void ThreadTeam::Run(size_t tasks, absl::FunctionRef<void(size_t)> task) {
  if (workers_.empty() || tasks <= 1) {
    for (size_t i = 0; i < tasks; ++i) task(i);
    return;
  }
  task_ = &task;
  done_.store(0, std::memory_order_relaxed);
  const uint64_t run = (RunOf(ticket_.load(std::memory_order_relaxed)) + 1) << (2 * kBits);
  ticket_.store(run | tasks << kBits, std::memory_order_release);
  ticket_.notify_all();
  while (TakeTask()) {
  }
  size_t done = done_.load(std::memory_order_acquire);
  for (int i = 0; done < tasks; ++i) {
    if (i < kSpins) {
      hwy::Pause();
    } else {
      done_.wait(done, std::memory_order_acquire);
    }
    done = done_.load(std::memory_order_acquire);
  }
}

}  // namespace astray
