// The server that rpc_bench measures: astrayd's own code in a process of its own, pinned to given cores, with one more
// method on its lanes: the same request, an empty reply, nothing done. What an RPC costs by itself.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace astray::bench {

inline constexpr char kScoreMethod[] = "/astray.v1.DetectionService/Score";
inline constexpr char kEmptyMethod[] = "/astray.bench.Empty/Score";

// Runs a server with one worker a core; writes its port to standard output, and ends when standard input does.
int ServeUntilClosed(const std::filesystem::path& models, const std::vector<int>& cores);

// Such a server as a child.
class BenchServer {
 public:
  BenchServer(const std::filesystem::path& models, const std::vector<int>& cores);
  ~BenchServer();
  BenchServer(const BenchServer&) = delete;
  BenchServer& operator=(const BenchServer&) = delete;

  const std::string& address() const { return address_; }
  double CpuSeconds() const;  // of all its threads, so far

 private:
  pid_t pid_ = -1;
  int stdin_ = -1;
  std::string address_;
};

void PinToCores(const std::vector<int>& cores);  // this thread, and those it starts

}  // namespace astray::bench
