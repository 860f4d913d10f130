#include "server/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "tests/testing/running_server.h"

namespace astray {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

TEST(HttpServer, PagesSayWhatTheyShould) {
  bool ready = false;
  const auto server = HttpServer::Start(
      "127.0.0.1", 0,
      {.metrics = [] { return "m 1\n"; }, .ready = [&] { return ready; }, .index = [] { return "<p>models</p>"; }});
  ASSERT_TRUE(server.ok()) << server.status();
  const uint16_t port = (*server)->port();
  ASSERT_GT(port, 0);
  EXPECT_THAT(HttpGet(port, "/metrics"),
              AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("version=0.0.4"), HasSubstr("\r\n\r\nm 1\n")));
  EXPECT_THAT(HttpGet(port, "/healthz"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(HttpGet(port, "/readyz"), StartsWith("HTTP/1.1 503"));
  ready = true;
  EXPECT_THAT(HttpGet(port, "/readyz"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(HttpGet(port, "/"), AllOf(HasSubstr("text/html"), HasSubstr("<p>models</p>")));
  EXPECT_THAT(HttpGet(port, "/../etc/passwd"), testing::Not(HasSubstr("root")));
  EXPECT_THAT(HttpGet(port, "/nope"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(HttpGet(port, "/metrics", "POST"), StartsWith("HTTP/1.1 405"));
  EXPECT_THAT(HttpGet(port, "/healthz", "HEAD"), testing::EndsWith("\r\n\r\n"));
}

TEST(HttpServer, APortInUseIsNamed) {
  const HttpServer::Content content{
      .metrics = [] { return ""; }, .ready = [] { return true; }, .index = [] { return ""; }};
  const auto first = HttpServer::Start("127.0.0.1", 0, content);
  const auto second = HttpServer::Start("127.0.0.1", (*first)->port(), content);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr(absl::StrCat("cannot listen on 127.0.0.1:", (*first)->port())));
}

TEST(HttpServer, PromtoolAcceptsTheScrape) {
  RunningServer server({.name = "pump"});
  v1::ScoreResponse response;
  std::vector<float> rows = TinyRows(100, 3, 1);
  rows[0] = std::nanf("");
  rows[3] = 1e6f;
  ASSERT_TRUE(server.Score(MakeScoreRequest("pump", rows), &response).ok());
  ASSERT_FALSE(server.Score(MakeScoreRequest("valve", rows), &response).ok());
  std::ofstream(server.models() / "broken.txt") << "";
  const std::string scrape = server.Metrics();
  for (const char* name :
       {"astray_requests_total", "astray_request_duration_seconds_bucket", "astray_score_bucket",
        "astray_p_value_bucket", "astray_batch_rows_bucket", "astray_queue_duration_seconds_bucket",
        "astray_queue_rows", "astray_threshold", "astray_calibration_samples", "astray_calibration_timestamp_seconds",
        "astray_calibration_epoch", "astray_models_loaded", "astray_ready", "astray_streams_active",
        "astray_build_info", "process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds",
        "process_start_time_seconds"}) {
    EXPECT_THAT(scrape, HasSubstr(absl::StrCat("\n", name))) << name;
  }
  EXPECT_EQ(server.Metric("astray_scored_rows_total{model=\"pump\",version=\"1\"}"), 100);
  EXPECT_EQ(server.Metric("astray_missing_values_total{model=\"pump\",version=\"1\"}"), 1);
  EXPECT_EQ(server.Metric("astray_values_total{model=\"pump\",version=\"1\"}"), 300);
  EXPECT_GE(server.Metric("astray_anomalies_total{model=\"pump\",version=\"1\"}"), 1);
  if (std::system("command -v promtool >/dev/null") != 0) GTEST_SKIP() << "promtool is not installed";
  FILE* promtool = popen("promtool check metrics", "w");
  ASSERT_NE(promtool, nullptr);
  fwrite(scrape.data(), 1, scrape.size(), promtool);
  EXPECT_EQ(pclose(promtool), 0);
}

}  // namespace
}  // namespace astray
