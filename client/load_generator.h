// Puts a server under load: workers that each send one message, wait for its reply, and send the next.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "astray/v1/bench.pb.h"
#include "astray/v1/service.pb.h"

namespace astray {

struct LoadOptions {
  std::string target;  // host:port
  v1::ModelRef model;
  bool stream = false;     // one ScoreStream a worker, otherwise Score calls
  size_t concurrency = 8;  // workers, each with a connection of its own
  size_t message_rows = 1;
  absl::Duration duration = absl::Seconds(10);
};

// rows [n x features]: sent over and over, each worker beginning elsewhere; n is at least message_rows.
// The clock starts when every worker has had its first reply. A full queue is counted, any other error ends the run.
absl::StatusOr<v1::BenchReport> GenerateLoad(const LoadOptions& options, std::span<const float> rows, size_t features);

}  // namespace astray
