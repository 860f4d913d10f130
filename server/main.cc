#include <google/protobuf/stubs/logging.h>
#include <signal.h>

#include <cstdio>
#include <exception>
#include <iostream>
#include <memory>
#include <variant>

#include "absl/synchronization/mutex.h"
#include "server/config.h"
#include "server/log.h"
#include "server/server.h"
#include "spdlog/spdlog.h"

namespace {

int Run(const astray::ServerConfig& config, const sigset_t& stop_signals) {
  absl::StatusOr<std::unique_ptr<astray::Server>> server = astray::Server::Start(config);
  if (!server.ok()) {
    std::cerr << "astrayd: " << server.status().message() << '\n';
    return absl::IsAlreadyExists(server.status()) ? astray::kExitFailure : astray::kExitConfig;
  }
  int signal = 0;
  sigwait(&stop_signals, &signal);
  spdlog::info("{}: draining", signal == SIGINT ? "SIGINT" : "SIGTERM");
  pthread_sigmask(SIG_UNBLOCK, &stop_signals, nullptr);  // a second one ends the process at once
  (*server)->Drain();
  spdlog::info("astrayd stopped");
  return 0;
}

int Main(int argc, char** argv) {
  // Blocked before any thread starts, so that only sigwait gets them.
  sigset_t stop_signals;
  sigemptyset(&stop_signals);
  sigaddset(&stop_signals, SIGTERM);
  sigaddset(&stop_signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &stop_signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  google::protobuf::SetLogHandler(nullptr);  // what is wrong with a file or a message is a status, and logged once

  const std::variant<astray::ServerConfig, int> parsed = astray::ParseCommandLine(argc, argv);
  if (const int* exit_code = std::get_if<int>(&parsed)) return *exit_code;
  const auto& config = std::get<astray::ServerConfig>(parsed);
  astray::ConfigureLogging(config.log_level);
  return Run(config, stop_signals);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "astrayd: %s\n", error.what());
    return astray::kExitFailure;
  }
}
