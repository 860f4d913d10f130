// All of astrayd but its command line: model folder, scoring threads, gRPC and HTTP.
//
//   ASSIGN_OR_RETURN(auto server, Server::Start(config));
//   server->AwaitReady(...);
//   server->Drain();
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/server.h"
#include "server/call_gate.h"
#include "server/config.h"
#include "server/detection_service.h"
#include "server/detector_registry.h"
#include "server/feedback_store.h"
#include "server/health_service.h"
#include "server/http_server.h"
#include "server/lane.h"
#include "server/metrics.h"
#include "server/model_service.h"
#include "server/reflection_service.h"
#include "server/score_lane.h"
#include "server/scoring_queue.h"
#include "server/serial_executor.h"

namespace astray {

class LogScorer;
class StreamScorer;
template <typename Scorer>
class StreamLane;

// More methods on the lanes, for benchmarks to compare with; astrayd has none.
class LaneExtension {
 public:
  virtual ~LaneExtension() = default;
  virtual grpc::Service* service() = 0;
  virtual void Post(Lane* lane) = 0;  // before it starts
};

class Server {
 public:
  // Listens when it returns. Models are loaded afterwards, on a thread of its own: until then, and from Drain on,
  // health is NOT_SERVING and /readyz 503. InvalidArgument, NotFound or PermissionDenied: the model folder;
  // AlreadyExists: a port.
  // The extension may be null, else it must outlive the server.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerConfig& config, LaneExtension* extension = nullptr);
  ~Server();  // drains

  // False where the server is not ready by then. Ready is: the model folder was looked at, and a detector serves or
  // there is none to serve; it stays so until Drain.
  bool AwaitReady(absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mutex_);

  // Health to NOT_SERVING, then no new calls; open streams answer what they have read and end with UNAVAILABLE; other
  // calls in flight are finished, or cancelled after config.drain_timeout. Returns when all is stopped.
  void Drain() ABSL_LOCKS_EXCLUDED(mutex_);

  uint16_t grpc_port() const { return static_cast<uint16_t>(grpc_port_); }
  uint16_t http_port() const { return http_->port(); }
  DetectorRegistry& registry() { return registry_; }

 private:
  explicit Server(const ServerConfig& config);
  absl::Status Listen(LaneExtension* extension);
  void StartLanes(LaneExtension* extension);
  void WatchModels() ABSL_LOCKS_EXCLUDED(mutex_);
  void SetReady(bool ready);
  void BecomeReady() ABSL_LOCKS_EXCLUDED(mutex_);
  void Announce();  // that we are ready: to the log and the port file
  bool Ready() ABSL_LOCKS_EXCLUDED(mutex_);
  std::string IndexPage() const;

  const ServerConfig config_;
  // In the order in which they need each other.
  Metrics metrics_;
  DetectorRegistry registry_;
  ScoringQueue queue_;
  FeedbackStore feedback_;
  SerialExecutor executor_, log_reader_;
  CallGate gate_;
  DetectionService detection_;
  ModelService models_;
  HealthService health_;
  ReflectionService reflection_;
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<grpc::Server> grpc_;
  std::vector<std::unique_ptr<Lane>> lanes_;  // config.workers of them
  std::vector<std::unique_ptr<ScoreLane>> score_lanes_;
  std::vector<std::unique_ptr<StreamLane<StreamScorer>>> stream_lanes_;
  std::vector<std::unique_ptr<StreamLane<LogScorer>>> log_stream_lanes_;
  int grpc_port_ = 0;

  absl::Mutex mutex_;
  bool ready_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread watcher_;
};

}  // namespace astray
