#include "server/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "server/detector_registry.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

using testing::HasSubstr;

std::variant<ServerConfig, int> Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "astrayd");
  return ParseCommandLine(static_cast<int>(arguments.size()), arguments.data());
}

std::string WriteConfig(const TemporaryFolder& folder, const std::string& text) {
  const std::string path = folder.path() / "server.textproto";
  std::ofstream(path) << text;
  return path;
}

TEST(Config, DefaultsListenOnTheLoopback) {
  const auto parsed = Parse({});
  const auto& config = std::get<ServerConfig>(parsed);
  EXPECT_EQ(config.host, "127.0.0.1");
  EXPECT_EQ(config.port, 8001);
  EXPECT_EQ(config.http_port, 8002);
  EXPECT_GE(config.workers, 1u);
  EXPECT_EQ(config.keep_calibrations, DetectorRegistry::kKeepCalibrations);
}

TEST(Config, CalibrationsAreKeptAsFlagOrFileSay) {
  const TemporaryFolder folder;
  const std::string flag = "--config=" + WriteConfig(folder, "keep_calibrations: 3\n");
  EXPECT_EQ(std::get<ServerConfig>(Parse({flag.c_str()})).keep_calibrations, 3u);
  EXPECT_EQ(std::get<ServerConfig>(Parse({flag.c_str(), "--keep-calibrations=0"})).keep_calibrations, 0u);
}

TEST(Config, AFlagWinsOverTheFile) {
  const TemporaryFolder folder;
  const std::string flag = "--config=" + WriteConfig(folder, "port: 7001\nhttp_port: 7002\nqueue_rows: 5\n");
  const auto parsed = Parse({flag.c_str(), "--port=0", "--poll-interval=0.5"});
  const auto& config = std::get<ServerConfig>(parsed);
  EXPECT_EQ(config.port, 0);
  EXPECT_EQ(config.http_port, 7002);
  EXPECT_EQ(config.queue_rows, 5u);
  EXPECT_EQ(config.poll_interval, absl::Milliseconds(500));
}

TEST(Config, AnUnknownFieldNamesFileAndLine) {
  const TemporaryFolder folder;
  const std::string path = WriteConfig(folder, "port: 7001\nprot: 7002\n");
  const std::string flag = "--config=" + path;
  testing::internal::CaptureStderr();
  const auto parsed = Parse({flag.c_str()});
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr(path + ":2:"));
  EXPECT_EQ(std::get<int>(parsed), kExitConfig);
}

TEST(Config, AnUnknownFlagIsAUsageError) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(std::get<int>(Parse({"--prot=1"})), kExitUsage);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("--prot=1"));
  testing::internal::CaptureStderr();
  EXPECT_EQ(std::get<int>(Parse({"--port=many"})), kExitUsage);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("--port"));
}

TEST(Config, HelpShowsExamplesAndSucceeds) {
  testing::internal::CaptureStdout();
  EXPECT_EQ(std::get<int>(Parse({"--help"})), 0);
  EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("astrayd --model-base-path=models"));
}

TEST(Config, ValuesOutOfRangeNameTheField) {
  const auto message_of = [](auto set) {
    v1::ServerConfig config;
    set(config);
    return CheckConfig(config).status();
  };
  const std::vector<std::pair<absl::Status, std::string>> cases = {
      {message_of([](auto& c) { c.set_port(70000); }), "port: expected 0 to 65535, got 70000"},
      {message_of([](auto& c) { c.set_workers(0); }), "workers: expected 1 to 1024, got 0"},
      {message_of([](auto& c) { c.set_host(""); }), "host: expected an address or a host name, got ''"},
      {message_of([](auto& c) { c.set_host("a b"); }), "host: expected an address or a host name, got 'a b'"},
      {message_of([](auto& c) { c.set_http_port(8001); }), "http_port: expected another port than port, got 8001"},
      {message_of([](auto& c) { c.set_poll_interval_seconds(std::nan("")); }),
       "poll_interval_seconds: expected 0 to 86400, got nan"},
      {message_of([](auto& c) { c.set_max_calibration_rows(0); }),
       "max_calibration_rows: expected 1 to 1000000000, got 0"},
      {message_of([](auto& c) { c.set_keep_calibrations(1'000'001); }),
       "keep_calibrations: expected 0 to 1000000, got 1000001"}};
  for (const auto& [status, text] : cases) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), text);
  }
}

}  // namespace
}  // namespace astray
