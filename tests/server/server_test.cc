#include "server/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "engine/base/file.h"
#include "tests/testing/raw_call.h"
#include "tests/testing/running_server.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

using testing::HasSubstr;

// Messages of gRPC's own services by hand: the bytes that other clients send and expect.
std::string StringField(char tag, const std::string& value) {
  return value.empty() ? "" : std::string{tag, static_cast<char>(value.size())} + value;
}

// What the method first replies to the one request.
bool FirstReply(RawCall* call, const std::string& request, std::string* reply) {
  call->Write(request);
  call->WritesDone();
  return call->Read(reply);
}

const char kServing[] = "\x08\x01", kNotServing[] = "\x08\x02";

std::string CheckHealth(RunningServer& server, const std::string& service) {
  RawCall call(server.channel(), "/grpc.health.v1.Health/Check");
  std::string reply;
  return FirstReply(&call, StringField(0x0a, service), &reply) ? reply
                                                               : absl::StrCat("error ", call.Finish().error_code());
}

TEST(Server, HealthIsKnownForEveryService) {
  RunningServer server;
  for (const char* service : {"", "astray.v1.DetectionService", "astray.v1.ModelService"}) {
    EXPECT_EQ(CheckHealth(server, service), kServing) << service;
  }
  EXPECT_EQ(CheckHealth(server, "astray.v1.Nothing"), "error 5");
}

TEST(Server, IsNotServingWhileNoModelLoads) {
  const TemporaryFolder temporary;
  const std::filesystem::path& models = temporary.path();
  std::filesystem::create_directories(models / "pump/1");
  ServerConfig config = RunningServer::DefaultConfig(models);
  const auto started = Server::Start(config);
  ASSERT_TRUE(started.ok());
  ASSERT_TRUE((*started)->registry().Poll().ok());
  EXPECT_FALSE((*started)->AwaitReady(absl::ZeroDuration()));
  const auto channel =
      grpc::CreateChannel(absl::StrCat("127.0.0.1:", (*started)->grpc_port()), grpc::InsecureChannelCredentials());
  std::string reply;
  RawCall call(channel, "/grpc.health.v1.Health/Check");
  ASSERT_TRUE(FirstReply(&call, "", &reply));
  EXPECT_EQ(reply, kNotServing);
  EXPECT_THAT(HttpGet((*started)->http_port(), "/readyz"), HasSubstr("503"));
  EXPECT_THAT(HttpGet((*started)->http_port(), "/healthz"), HasSubstr("200"));
}

TEST(Server, WatchersSeeTheDrainAndDoNotHoldItUp) {
  RunningServer server;
  RawCall watch(server.channel(), "/grpc.health.v1.Health/Watch");
  std::string reply;
  ASSERT_TRUE(FirstReply(&watch, StringField(0x0a, "astray.v1.DetectionService"), &reply));
  EXPECT_EQ(reply, kServing);
  std::thread drain([&] { server.server().Drain(); });
  EXPECT_TRUE(watch.Read(&reply));
  EXPECT_EQ(reply, kNotServing);
  drain.join();
}

TEST(Server, ReflectionListsTheServices) {
  RunningServer server;
  RawCall call(server.channel(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
  std::string reply;
  ASSERT_TRUE(FirstReply(&call, StringField(0x3a, "*"), &reply));
  for (const char* service : {"astray.v1.DetectionService", "astray.v1.ModelService", "grpc.health.v1.Health"}) {
    EXPECT_THAT(reply, HasSubstr(service));
  }
}

TEST(Server, ADrainAnswersWhatWasReadAndEndsStreams) {
  RunningServer server;
  grpc::ClientContext context;
  const auto stream = server.detection().ScoreStream(&context);
  v1::ScoreStreamRequest request;
  request.mutable_model()->set_name("pump");
  const std::vector<float> rows = TinyRows(20000, 3, 1);
  request.mutable_values()->Add(rows.begin(), rows.end());
  v1::ScoreResponse response;
  ASSERT_TRUE(stream->Write(request));
  ASSERT_TRUE(stream->Read(&response));

  std::vector<std::thread> clients;
  std::atomic<int> answered{0}, refused{0}, other{0};
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      const v1::ScoreRequest score = MakeScoreRequest("pump", std::span(rows).first(3 * 4000));
      while (true) {
        v1::ScoreResponse scored;
        const grpc::Status status = server.Score(score, &scored);
        if (status.ok()) {
          ++answered;
          continue;
        }
        EXPECT_EQ(status.error_code(), grpc::UNAVAILABLE) << status.error_message();
        ++(status.error_code() == grpc::UNAVAILABLE ? refused : other);
        return;
      }
    });
  }
  ASSERT_TRUE(stream->Write(request));
  ASSERT_TRUE(stream->Read(&response));
  server.server().Drain();
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(stream->Finish().error_code(), grpc::UNAVAILABLE);
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(other, 0);
  EXPECT_EQ(refused, 4);
}

TEST(Server, APortInUseIsNamedAndHarmsNobody) {
  RunningServer server;
  ServerConfig config = RunningServer::DefaultConfig(server.models());
  config.port = server.server().grpc_port();
  const auto second = Server::Start(config);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr(absl::StrCat("grpc: cannot listen on 127.0.0.1:", config.port)));
  EXPECT_EQ(CheckHealth(server, ""), kServing);
}

TEST(Server, AModelFolderThatCannotBeReadIsNamed) {
  ServerConfig config = RunningServer::DefaultConfig("/nowhere");
  EXPECT_EQ(Server::Start(config).status().message(),
            "model_base_path: cannot read the folder '/nowhere': No such file or directory");
}

TEST(Server, APortFileTellsThePortsOnceReady) {
  const TemporaryFolder temporary;
  const std::filesystem::path& folder = temporary.path();
  std::filesystem::create_directory(folder / "models");
  ServerConfig config = RunningServer::DefaultConfig(folder / "models");
  config.port_file = folder / "ports";
  RunningServer server(config);
  EXPECT_EQ(*ReadFile(folder / "ports", 100),
            absl::StrCat(server.server().grpc_port(), " ", server.server().http_port(), "\n"));
}

}  // namespace
}  // namespace astray
