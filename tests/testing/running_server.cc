#include "tests/testing/running_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace astray {

ServerConfig RunningServer::DefaultConfig(const std::filesystem::path& models) {
  ServerConfig config;
  config.model_base_path = models;
  config.port = 0;
  config.http_port = 0;
  config.workers = 2;
  config.poll_interval = absl::ZeroDuration();
  return config;
}

RunningServer::RunningServer(const TinyDetectorOptions& options) {
  const std::filesystem::path models = folder_.path() / "models";
  WriteTinyArtifact(models, options);
  Start(DefaultConfig(models));
}

RunningServer::RunningServer(const ServerConfig& config) { Start(config); }

void RunningServer::Start(const ServerConfig& config) {
  models_ = config.model_base_path;
  auto server = Server::Start(config);
  if (!server.ok()) {
    ADD_FAILURE() << server.status();
    std::abort();
  }
  server_ = *std::move(server);
  server_->AwaitReady(absl::Seconds(30));
  channel_ = grpc::CreateChannel(absl::StrCat("127.0.0.1:", server_->grpc_port()), grpc::InsecureChannelCredentials());
  detection_ = v1::DetectionService::NewStub(channel_);
  model_ = v1::ModelService::NewStub(channel_);
}

grpc::Status RunningServer::Score(const v1::ScoreRequest& request, v1::ScoreResponse* response) {
  grpc::ClientContext context;
  return detection_->Score(&context, request, response);
}

grpc::Status RunningServer::Calibrate(const v1::CalibrateHeader& header, std::span<const float> rows,
                                      v1::CalibrateResponse* response) {
  grpc::ClientContext context;
  const auto writer = detection_->Calibrate(&context, response);
  v1::CalibrateRequest request;
  *request.mutable_header() = header;
  writer->Write(request);
  request.mutable_rows()->mutable_values()->Add(rows.begin(), rows.end());
  writer->Write(request);
  writer->WritesDone();
  return writer->Finish();
}

std::string RunningServer::Metrics() {
  const std::string reply = HttpGet(server_->http_port(), "/metrics");
  const size_t body = reply.find("\r\n\r\n");
  return body == std::string::npos ? "" : reply.substr(body + 4);
}

double RunningServer::Metric(const std::string& series) {
  const std::string text = Metrics();
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    double value = 0;
    if (absl::ConsumePrefix(&line, absl::StrCat(series, " ")) && absl::SimpleAtod(line, &value)) return value;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

v1::ScoreRequest MakeScoreRequest(const std::string& model, std::span<const float> values) {
  v1::ScoreRequest request;
  request.mutable_model()->set_name(model);
  request.mutable_values()->Add(values.begin(), values.end());
  return request;
}

std::string HttpGet(uint16_t port, const std::string& path, const std::string& method) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string reply;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    const std::string request = absl::StrCat(method, " ", path, " HTTP/1.1\r\nHost: localhost\r\n\r\n");
    if (write(fd, request.data(), request.size()) == static_cast<ssize_t>(request.size())) {
      char buffer[4096];
      for (ssize_t got = 0; (got = read(fd, buffer, sizeof(buffer))) > 0;) {
        reply.append(buffer, static_cast<size_t>(got));
      }
    }
  }
  close(fd);
  return reply;
}

}  // namespace astray
