// Lines for whoever watches a command that runs for long: an outage, a message that was passed over. Thread-safe.
#pragma once

#include <ostream>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace astray {

class Notes {
 public:
  // `out` outlives it; nobody else writes to it at that time.
  explicit Notes(std::ostream* out) : out_(out) {}

  // A line of its own, at once.
  void Say(absl::string_view text) {
    absl::MutexLock lock(&mutex_);
    *out_ << "note: " << text << std::endl;
  }

 private:
  absl::Mutex mutex_;
  std::ostream* out_ ABSL_PT_GUARDED_BY(mutex_);
};

}  // namespace astray
