// How many rows wait to be scored, in every lane and in the queue of the workers together. Thread-safe.
#pragma once

#include <atomic>
#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace astray {

class WaitingRows {
 public:
  explicit WaitingRows(size_t most) : most_(most) {}

  // ResourceExhausted where there would be more than `most` of them: "the queue is full: 8 of 10 rows wait, ...".
  absl::Status Reserve(size_t rows) {
    size_t waiting = waiting_.load(std::memory_order_relaxed);
    do {
      if (waiting + rows > most_) {
        return absl::ResourceExhaustedError(absl::StrCat("the queue is full: ", waiting, " of ", most_,
                                                         " rows wait, this request has ", rows, "; retry later"));
      }
    } while (!waiting_.compare_exchange_weak(waiting, waiting + rows, std::memory_order_relaxed));
    return absl::OkStatus();
  }
  void Add(size_t rows) { waiting_.fetch_add(rows, std::memory_order_relaxed); }  // whatever waits already
  void Remove(size_t rows) { waiting_.fetch_sub(rows, std::memory_order_relaxed); }

  size_t most() const { return most_; }
  size_t rows() const { return waiting_.load(std::memory_order_relaxed); }

 private:
  const size_t most_;
  std::atomic<size_t> waiting_{0};
};

}  // namespace astray
