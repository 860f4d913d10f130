// Commands without a server, in a folder of their own.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/client/command_runner.h"
#include "tests/testing/temporary_folder.h"

namespace astray {

class OfflineCommands : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return Path(name);
  }
  // A recipe whose training takes a moment; a detector made by it is no good, and need not be.
  std::string QuickRecipe() const {
    return Write("quick.textproto",
                 "network { encoder: 8 encoder: 4 }\ntraining { max_steps: 20 steps_per_validation: 10 }\n"
                 "calibration { false_positive_rate: 0.05 }\n");
  }
  CommandOutput Train(const std::string& csv, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {"train", "--data=" + Write("data.csv", csv), "--name=m",
                                          "--recipe=" + QuickRecipe(), "--model-base-path=" + Path("models")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunCommand(arguments);
  }
  // n rows of a feature that changes and of `last`.
  static std::string Rows(size_t n, const std::string& last) {
    std::string csv = "flow,last\n";
    for (size_t i = 0; i < n; ++i) absl::StrAppend(&csv, i * 37 % 101, ".5,", last, "\n");
    return csv;
  }
  // What a refusal says, having checked that it is one line and leaves no model.
  std::string Refusal(const CommandOutput& output, int code = 65) const {
    EXPECT_EQ(output.code, code) << output.err;
    EXPECT_EQ(output.out, "");
    EXPECT_THAT(output.err, ::testing::StartsWith("astray: "));
    EXPECT_EQ(std::count(output.err.begin(), output.err.end(), '\n'), 1) << output.err;
    EXPECT_FALSE(std::filesystem::exists(folder_ / "models" / "m" / "1"));
    std::string text = output.err.substr(8, output.err.size() - 9);
    if (text.rfind(folder_.string(), 0) == 0) text.erase(0, folder_.string().size() + 1);
    return text;
  }

  const TemporaryFolder temporary_;
  const std::filesystem::path folder_ = temporary_.path();
};

}  // namespace astray
