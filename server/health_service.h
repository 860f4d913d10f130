// grpc.health.v1.Health: whether the server and its services take calls, for probes, balancers and clients that ask or
// watch. All of them do or none does. Not counted, and no drain waits for its calls: watchers see NOT_SERVING and are
// cut off when the server is shut down.
//
//   HealthService health({"astray.v1.DetectionService"});
//   ... register it, build the server ...; health.Post(&lane); lane.Start();
//   health.SetServing(true);
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "grpc/health/v1/health.grpc.pb.h"
#include "server/lane.h"

namespace astray {

// What is asked once comes as bytes (message_bytes.h).
using HealthMethods = grpc::health::v1::Health::WithRawMethod_Check<
    grpc::health::v1::Health::WithAsyncMethod_Watch<grpc::health::v1::Health::Service>>;

class HealthService final : public HealthMethods {
 public:
  // Calls of Watch open at once; then RESOURCE_EXHAUSTED. As many as may stream (DetectionService::kMaxStreams).
  static constexpr size_t kMaxWatches = 4096;

  // Full names of the services it knows beside "", the server. NOT_SERVING at first.
  explicit HealthService(std::vector<std::string> services);
  ~HealthService() override;

  // Takes calls from the lane, which must not have been started and whose thread the service must outlive.
  void Post(Lane* lane);

  // Tells who watches. From any thread, until the lane is shut down.
  void SetServing(bool serving);

 private:
  using Status = grpc::health::v1::HealthCheckResponse::ServingStatus;
  class Checks;
  class Watch;

  bool Knows(const std::string& service) const;
  Status StatusOf(bool known) const;  // SERVICE_UNKNOWN where it is not
  void Tell(bool ok);

  const std::vector<std::string> services_;
  std::atomic<bool> serving_{false};
  Lane* lane_ = nullptr;
  std::unique_ptr<Checks> checks_;
  std::set<Watch*> watches_;  // of the lane's thread
  MemberTag<HealthService, &HealthService::Tell> tell_{this};
};

}  // namespace astray
