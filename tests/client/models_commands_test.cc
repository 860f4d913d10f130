// models against a server in this process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/client/command_runner.h"
#include "tests/client/server_commands.h"

namespace astray {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(ServerCommands, AVersionIsPromotedByWhatItsShadowShowsAndRolledBack) {
  Ok({"models", "promote", "--model=pump", "--version=1"});
  WriteTinyArtifact(running_.models(), {.seed = 2});
  Ok({"models", "load", "--model=pump"});
  EXPECT_THAT(Ok({"models", "list"}), HasSubstr("  *     "));
  EXPECT_THAT(Ok({"models", "describe", "--model=pump"}),
              AllOf(HasSubstr("pump version 1, serving, live"), Not(HasSubstr("shadow"))));
  EXPECT_THAT(Ok({"models", "shadow", "--model=pump", "--version=2"}),
              HasSubstr("version 2 epoch 1 beside version 1 epoch 1"));
  Ok({"score", "--model=pump", "--data=" + WriteRows(500, 9)});
  running_.server().registry().AwaitShadows();
  EXPECT_THAT(Ok({"models", "describe", "--model=pump"}), HasSubstr("500 rows compared, 0 dropped"));
  const std::vector<std::string> promote = {"models", "promote", "--model=pump", "--version=2"};
  const auto with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = promote;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  const CommandOutput held = Run(with({"--max-disagreement=1", "--min-rows=501"}));
  EXPECT_EQ(held.code, 1);
  EXPECT_THAT(held.err, HasSubstr("gate: expected a disagreement of at most 1 over at least 501 rows"));
  EXPECT_EQ(Run(with({"--min-rows=3"})).code, 64);
  EXPECT_EQ(Run(with({"--epoch=1"})).code, 64);
  EXPECT_EQ(Run(with({"--max-disagreement=2"})).code, 64);
  EXPECT_EQ(Run({"models", "promote", "--model=pump"}).code, 64);
  EXPECT_EQ(Ok(with({"--max-disagreement=1", "--min-rows=500"})), "pump version 2 is live; before: version 1\n");
  EXPECT_EQ(Ok({"models", "rollback", "--model=pump"}), "pump version 1 is live; before: version 2\n");
  EXPECT_EQ(Ok({"models", "promote", "--model=pump", "--latest"}), "pump version 2 is live; before: version 1\n");
  EXPECT_EQ(Ok({"models", "shadow", "--model=pump", "--off"}), "shadow                   none\n");
}

TEST_F(ServerCommands, ModelsCanBeLoadedLabelledAndUnloaded) {
  TinyDetectorOptions options;
  options.seed = 2;
  WriteTinyArtifact(running_.models(), options);
  EXPECT_THAT(Ok({"models", "load", "--model=pump"}), HasSubstr("pump                           2  serving"));
  EXPECT_THAT(Ok({"models", "label", "--model=pump", "--label=stable", "--model-version=1"}), HasSubstr("stable"));
  const std::string data = "--data=" + WriteRows(5, 3);
  EXPECT_EQ(Ok({"score", "--model=pump", "--label=stable", data}),
            Ok({"score", "--model=pump", "--model-version=1", data}));
  EXPECT_NE(Ok({"score", "--model=pump", data}), Ok({"score", "--model=pump", "--model-version=1", data}));
  EXPECT_THAT(Ok({"models", "label", "--model=pump", "--label=stable", "--remove"}), Not(HasSubstr("stable")));
  EXPECT_THAT(Ok({"models", "unload", "--model=pump", "--model-version=2"}), HasSubstr("unloaded"));
  EXPECT_EQ(Run({"score", "--model=pump", "--model-version=2", data}).code, 1);
  EXPECT_EQ(Run({"models", "load", "--model=nosuch"}).code, 1);
}

}  // namespace
}  // namespace astray
