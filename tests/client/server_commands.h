// Commands against a server in this process, which has a model 'pump' of flow, pressure and temperature.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/data/csv_writer.h"
#include "tests/client/command_runner.h"
#include "tests/testing/running_server.h"

namespace astray {

class ServerCommands : public testing::Test {
 protected:
  explicit ServerCommands(uint32_t window = 1) : running_({.window = window}) {}

  CommandOutput Run(std::vector<std::string> arguments) {
    arguments.push_back(absl::StrCat("--server=127.0.0.1:", running_.server().grpc_port()));
    return RunCommand(arguments);
  }
  // The output of a command that must succeed.
  std::string Ok(const std::vector<std::string>& arguments) {
    const CommandOutput output = Run(arguments);
    EXPECT_EQ(output.code, 0) << output.err;
    return output.out;
  }
  // Of a file beside the models.
  std::string Path(const std::string& name) const { return (running_.folder() / name).string(); }
  std::string WriteRows(size_t n, uint64_t seed, const std::string& name = "rows.csv") {
    Dataset data{.feature_names = {"flow", "pressure", "temperature"}, .values = TinyRows(n, 3, seed)};
    for (size_t i = 0; i < n; ++i) data.timestamps.push_back(absl::StrCat("t", i));
    const std::string path = Path(name);
    EXPECT_TRUE(WriteCsv(path, data).ok());
    return path;
  }
  std::string Artifact() const { return (running_.models() / "pump" / "1").string(); }

  RunningServer running_;
};

// The same with a model of windows of four rows.
class WindowedServerCommands : public ServerCommands {
 protected:
  WindowedServerCommands() : ServerCommands(4) {}
};

}  // namespace astray
