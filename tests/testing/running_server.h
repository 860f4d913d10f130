// A whole server in this process, on free ports of the loopback, over a model folder of its own.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "astray/v1/service.grpc.pb.h"
#include "grpcpp/grpcpp.h"
#include "server/server.h"
#include "tests/testing/temporary_folder.h"
#include "tests/testing/tiny_detector.h"

namespace astray {

class RunningServer {
 public:
  // Polls only when asked to. With `options`, a model is written first.
  explicit RunningServer(const TinyDetectorOptions& options = {});
  explicit RunningServer(const ServerConfig& config);

  static ServerConfig DefaultConfig(const std::filesystem::path& models);

  Server& server() { return *server_; }
  const std::filesystem::path& models() const { return models_; }
  // For other files of the test; goes with the server.
  const std::filesystem::path& folder() const { return folder_.path(); }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  v1::DetectionService::Stub& detection() { return *detection_; }
  v1::ModelService::Stub& model() { return *model_; }

  grpc::Status Score(const v1::ScoreRequest& request, v1::ScoreResponse* response);
  // Header and rows in one message each.
  grpc::Status Calibrate(const v1::CalibrateHeader& header, std::span<const float> rows,
                         v1::CalibrateResponse* response);
  std::string Metrics();                     // the scrape's text
  double Metric(const std::string& series);  // of the scrape; NaN where there is no such series

 private:
  void Start(const ServerConfig& config);

  const TemporaryFolder folder_;
  std::filesystem::path models_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::DetectionService::Stub> detection_;
  std::unique_ptr<v1::ModelService::Stub> model_;
};

v1::ScoreRequest MakeScoreRequest(const std::string& model, std::span<const float> values);

// The body of an HTTP reply, its status line first.
std::string HttpGet(uint16_t port, const std::string& path, const std::string& method = "GET");

}  // namespace astray
