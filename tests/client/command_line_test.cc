#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "client/client.h"
#include "client/command.h"
#include "tests/client/command_runner.h"

namespace astray {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(ExitCode, TellsWhoseFaultItIs) {
  EXPECT_EQ(ExitCode(absl::OkStatus()), 0);
  EXPECT_EQ(ExitCode(UsageError("x")), 64);
  EXPECT_EQ(ExitCode(absl::InvalidArgumentError("x")), 65);
  EXPECT_EQ(ExitCode(absl::DataLossError("x")), 65);
  EXPECT_EQ(ExitCode(absl::UnavailableError("x")), 69);
  EXPECT_EQ(ExitCode(absl::InternalError("x")), 1);
  absl::Status no_file = absl::NotFoundError("x");
  EXPECT_EQ(ExitCode(no_file), 65);
  no_file.SetPayload(kRpcPayload, absl::Cord());
  EXPECT_EQ(ExitCode(no_file), 1) << "a server that has no such model is not bad data";
}

TEST(CommandLine, WrongUsageIsOneLineAndCode64) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{},
                                             {"nosuch"},
                                             {"train"},
                                             {"train", "--data=x.csv", "--name=x", "--nosuch"},
                                             {"train", "--data=x.csv", "--name=x", "--seed=minus"},
                                             {"train", "--data=x.csv", "--name=x", "--threads=0"},
                                             {"score", "--model=x"},
                                             {"score", "--model=x", "--data=x", "--format=xml"},
                                             {"score", "--model=x", "--data=x", "--epoch=2"},
                                             {"score", "--model=x", "--data=x", "--top=100"},
                                             {"score", "--model=x", "--data=x", "--label=a", "--model-version=1"},
                                             {"models"},
                                             {"models", "promote", "--model=x"},
                                             {"models", "label", "--model=x", "--label=stable"},
                                             {"bench", "--model=x", "--mode=often"},
                                             {"bench", "--model=x", "--duration=10h"},
                                             {"simulate"},
                                             {"simulate", "--out-dir=x", "--plant=nosuch"},
                                             {"simulate", "--out-dir=x", "--faults=nosuch"}}) {
    const CommandOutput output = RunCommand(arguments);
    EXPECT_EQ(output.code, 64) << testing::PrintToString(arguments) << output.err;
    EXPECT_THAT(output.err, AllOf(StartsWith("astray: "), EndsWith("\n")));
    EXPECT_EQ(std::count(output.err.begin(), output.err.end(), '\n'), 1) << output.err;
    EXPECT_EQ(output.out, "");
  }
}

TEST(CommandLine, HelpHasExamplesForEveryCommand) {
  const CommandOutput all = RunCommand({"--help"});
  EXPECT_EQ(all.code, 0);
  EXPECT_EQ(all.err, "");
  for (const char* name : {"simulate", "train", "evaluate", "inspect", "score", "encode", "reconstruct", "stream",
                           "calibrate", "models", "bench"}) {
    EXPECT_THAT(all.out, HasSubstr(name));
    const CommandOutput help = RunCommand({name, "--help"});
    EXPECT_EQ(help.code, 0);
    if (std::string(name) != "models") {
      EXPECT_THAT(help.out, HasSubstr(std::string("  astray ") + name));
    }
  }
  for (const char* name : {"list", "describe", "load", "unload", "promote", "rollback", "label"}) {
    EXPECT_THAT(RunCommand({"models", name, "--help"}).out, HasSubstr(std::string("  astray models ") + name));
  }
}

TEST(CommandLine, SaysItsVersion) {
  const CommandOutput output = RunCommand({"--version"});
  EXPECT_EQ(output.code, 0);
  EXPECT_THAT(output.out, StartsWith("astray 0."));
}

TEST(CommandLine, JsonTextIsALiteralWhateverTheBytes) {
  EXPECT_EQ(JsonText("a\"b\\c\n\xc3\xa9"), "\"a\\\"b\\\\c\\n\xc3\xa9\"");
  EXPECT_EQ(JsonText("\xff"), "\"\\\\xff\"");
}

}  // namespace
}  // namespace astray
