// Load on a server: asynchronous clients, each a thread with a connection and a completion queue, that do little
// beside.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "astray/v1/service.pb.h"
#include "tests/bench/bench_server.h"

namespace astray::bench {

struct Throughput {
  double answers = 0;       // calls or messages
  double wall_seconds = 0;  // as long as the load lasted
  double cpu_seconds = 0;   // of the server
  double PerCpuSecond() const { return answers / cpu_seconds; }
  double PerSecond() const { return answers / wall_seconds; }
  double Busy() const { return cpu_seconds / wall_seconds; }  // of one core
};

struct Load {
  size_t clients = 4;
  size_t in_flight = 64;  // of all of them together
  double seconds = 1;
};

// Calls, each begun when another is answered. Ends the program where one fails.
Throughput CallClosed(const BenchServer& server, const std::string& method, const v1::ScoreRequest& request,
                      const Load& load);

// Messages of `clients` streams, each sent when another is answered.
Throughput StreamClosed(const BenchServer& server, const v1::ScoreStreamRequest& request, const Load& load);

struct Paced {
  std::vector<double> latencies;  // seconds from when a call was due to its answer
  double server_busy = 0;         // of one core
};

// Calls begun at a steady rate, whether others are answered or not.
Paced CallOpen(const BenchServer& server, const std::string& method, const v1::ScoreRequest& request,
               double calls_per_second, const Load& load);

// One call.
v1::ScoreResponse CallOnce(const BenchServer& server, const std::string& method, const v1::ScoreRequest& request);

}  // namespace astray::bench
