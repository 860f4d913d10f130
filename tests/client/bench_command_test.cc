// bench against a server in this process.
#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "astray/v1/bench.pb.h"
#include "tests/client/command_runner.h"
#include "tests/client/server_commands.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

TEST_F(WindowedServerCommands, BenchMeasuresEveryMode) {
  for (const std::string mode : {"unary", "batch", "stream"}) {
    v1::BenchReport report;
    // On a machine that is busy with others, a stream may come to no more than its first three messages.
    for (int milliseconds = 50; report.rows() == 0 && milliseconds < 10000; milliseconds *= 4) {
      const std::string json = Ok({"bench", "--model=pump", "--mode=" + mode,
                                   absl::StrCat("--duration=", milliseconds, "ms"), "--concurrency=3", "--json"});
      report.Clear();
      ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(json, &report).ok()) << json;
    }
    EXPECT_EQ(report.mode(), mode);
    EXPECT_EQ(report.batch_rows(), mode == "unary" ? 4u : mode == "batch" ? 256u : 1u);
    EXPECT_GT(report.messages(), 0);
    // Every message but a stream's first three has verdicts on all of its rows but the window's first three.
    if (mode != "stream") {
      EXPECT_EQ(report.rows(), report.messages() * (report.batch_rows() - 3));
    }
    EXPECT_GT(report.rows_per_second(), 0);
    EXPECT_LE(report.latency_p50_seconds(), report.latency_p99_seconds());
    EXPECT_LE(report.latency_p99_seconds(), report.latency_max_seconds());
  }
  EXPECT_THAT(Ok({"bench", "--model=pump", "--duration=20ms", "--data=" + WriteRows(50, 3)}), HasSubstr("latency"));
  const CommandOutput few = Run({"bench", "--model=pump", "--mode=batch", "--data=" + WriteRows(50, 3)});
  EXPECT_EQ(few.code, 65);
  EXPECT_THAT(few.err, HasSubstr("expected at least 256 rows, a message's worth, got 50"));
  EXPECT_EQ(Run({"bench", "--model=nosuch"}).code, 1);
}

}  // namespace
}  // namespace astray
