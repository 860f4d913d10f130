#include <google/protobuf/stubs/logging.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <iostream>

#include "absl/synchronization/mutex.h"
#include "client/commands.h"

int main(int argc, char** argv) {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  google::protobuf::SetLogHandler(nullptr);  // every error is a status, and told once
  std::ios::sync_with_stdio(false);
  try {
    return astray::RunAstray(argc, argv, std::cout, std::cerr, isatty(STDERR_FILENO) != 0);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "astray: %s\n", error.what());
    return 1;
  }
}
