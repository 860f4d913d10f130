// A gRPC server on loopback with one lane, for the tests of what is posted on it.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "grpcpp/grpcpp.h"
#include "server/lane.h"

namespace astray {

class LaneServer {
 public:
  // `service` must outlive it. What is to be posted on the lane is posted before the lane's Start.
  explicit LaneServer(grpc::Service* service) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(service);
    lane_.emplace(builder.AddCompletionQueue());
    server_ = builder.BuildAndStart();
  }

  Lane* lane() { return &*lane_; }
  std::shared_ptr<grpc::Channel> Connect() const {
    return grpc::CreateChannel(absl::StrCat("127.0.0.1:", port_), grpc::InsecureChannelCredentials());
  }

  // Before the lane's. Calls that are inside are waited for; or, with Cancel, cancelled.
  void Shutdown() { server_->Shutdown(); }
  void Cancel() { server_->Shutdown(std::chrono::system_clock::now()); }

 private:
  int port_ = 0;
  std::optional<Lane> lane_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace astray
