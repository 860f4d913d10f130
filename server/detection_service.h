// astray.v1.DetectionService. Lanes take Score (score_lane.h) and the streams (stream_call.h) from completion queues,
// which pays where messages are many and small; the other methods are of gRPC's callback API.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "astray/v1/service.grpc.pb.h"
#include "server/call.h"
#include "server/detector_registry.h"
#include "server/feedback_store.h"
#include "server/scoring_queue.h"
#include "server/serial_executor.h"

namespace astray {

// A call that ends when the server does.
class OpenStream {
 public:
  virtual ~OpenStream() = default;
  // Answers what was read, then ends the stream with Unavailable.
  virtual void End() = 0;
};

// Which method is of which API: generated classes, one around the other.
template <typename Service>
using LaneMethods = v1::DetectionService::WithAsyncMethod_Score<
    v1::DetectionService::WithAsyncMethod_ScoreStream<v1::DetectionService::WithAsyncMethod_ScoreLogStream<Service>>>;
template <typename Service>
using CallbackMethods = v1::DetectionService::WithCallbackMethod_ScoreLogs<
    v1::DetectionService::WithCallbackMethod_Calibrate<v1::DetectionService::WithCallbackMethod_Feedback<Service>>>;
using MixedService = LaneMethods<CallbackMethods<v1::DetectionService::Service>>;

class DetectionService final : public MixedService {
 public:
  static constexpr size_t kMaxStreams = 4096;    // stream calls open at once; then RESOURCE_EXHAUSTED
  static constexpr size_t kMaxCalibrations = 8;  // Calibrate calls open at once; then RESOURCE_EXHAUSTED

  // What the calls use; all must outlive the service.
  struct Parts {
    DetectorRegistry* registry;
    ScoringQueue* queue;
    SerialExecutor* executor;
    CallGate* gate;
    Metrics* metrics;
    uint64_t max_calibration_rows;
    FeedbackStore* feedback;
  };
  explicit DetectionService(const Parts& parts) : parts_(parts) {}

  using Context = grpc::CallbackServerContext;
  grpc::ServerUnaryReactor* ScoreLogs(Context* context, const v1::ScoreLogsRequest* request,
                                      v1::ScoreLogsResponse* response) override;
  grpc::ServerReadReactor<v1::CalibrateRequest>* Calibrate(Context* context, v1::CalibrateResponse* response) override;
  grpc::ServerUnaryReactor* Feedback(Context* context, const v1::FeedbackRequest* request,
                                     v1::FeedbackResponse* response) override;

  // Lets open streams answer what they have read and then ends them with UNAVAILABLE. The gate must be closed before.
  void EndStreams() ABSL_LOCKS_EXCLUDED(mutex_);

  const Parts& parts() const { return parts_; }

  // Called by reactors.
  absl::Status AddStream(OpenStream* stream) ABSL_LOCKS_EXCLUDED(mutex_);
  void RemoveStream(OpenStream* stream) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status AddCalibration() ABSL_LOCKS_EXCLUDED(mutex_);
  void RemoveCalibration() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  template <typename Start>
  grpc::ServerUnaryReactor* StartUnary(Method method, Context* context, Start start);

  const Parts parts_;
  absl::Mutex mutex_;
  std::set<OpenStream*> streams_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  size_t calibrations_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace astray
