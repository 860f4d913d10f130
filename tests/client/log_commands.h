// Logs of requests, and commands on them in a folder of their own.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/client/command_runner.h"
#include "tests/testing/running_server.h"
#include "tests/testing/temporary_folder.h"

namespace astray {

class LogCommands : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return Path(name);
  }
  std::string Recipe(const std::string& log = "session_pattern: 'req-[0-9]+'") const {
    return Write("quick.textproto", "features { log { " + log +
                                        " } } network { encoder: 8 encoder: 4 }\n"
                                        "training { max_steps: 100 steps_per_validation: 20 }\n"
                                        "calibration { false_positive_rate: 0.05 }\n");
  }
  CommandOutput Train(const std::string& data, const std::vector<std::string>& more = {},
                      const std::string& name = "m") const {
    std::vector<std::string> arguments = {"train", "--data=" + data, "--name=" + name,
                                          "--model-base-path=" + Path("models")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunCommand(arguments);
  }
  // A server over the models trained so far, and the flags that find it.
  RunningServer& Serve() {
    server_ = std::make_unique<RunningServer>(RunningServer::DefaultConfig(Path("models")));
    return *server_;
  }
  CommandOutput Run(std::vector<std::string> arguments) const {
    arguments.push_back(absl::StrCat("--server=127.0.0.1:", server_->server().grpc_port()));
    return RunCommand(arguments);
  }
  // Requests that are accepted, looked up once to three times and answered, four at a time; those in `odd` fail.
  static std::string Requests(int count, const std::set<int>& odd = {}) {
    std::string log;
    int second = 0;
    const auto line = [&](int request, const std::string& text) {
      absl::StrAppendFormat(&log, "2024-05-01 10:%02d:%02d INFO req-%d %s\n", second / 60 % 60, second % 60, request,
                            text);
    };
    for (int first = 0; first < count; first += 4, second += 1) {
      for (int i = first; i < first + 4; ++i) line(i, absl::StrCat("accepted from 10.0.0.", i % 200));
      for (int step = 0; step < 3; ++step) {
        for (int i = first; i < first + 4; ++i) {
          if (step <= i % 3) line(i, absl::StrCat("looked up key ", i * 17));
        }
      }
      for (int i = first; i < first + 4; ++i) {
        line(i, odd.contains(i) ? "lost connection to the store" : "answered in 3 ms");
      }
    }
    return log;
  }
  static std::string Labels(int count, const std::set<int>& odd) {
    std::string labels = "session,why,Label\n";
    for (int i = 0; i < count; ++i) absl::StrAppend(&labels, "req-", i, ",,", odd.contains(i) ? "anomaly" : "0", "\n");
    return labels;
  }

 private:
  const TemporaryFolder temporary_;
  const std::filesystem::path folder_ = temporary_.path();
  std::unique_ptr<RunningServer> server_;
};

}  // namespace astray
