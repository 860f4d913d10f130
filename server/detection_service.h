// astray.v1.DetectionService. Every lane takes Score (score_lane.h) and the streams (stream_call.h); the first one
// takes the rare methods as well and has others do their work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "astray/v1/service.grpc.pb.h"
#include "server/call_gate.h"
#include "server/detector_registry.h"
#include "server/feedback_store.h"
#include "server/lane.h"
#include "server/metrics.h"
#include "server/scoring_queue.h"
#include "server/serial_executor.h"
#include "server/unary_method.h"

namespace astray {

// A call that ends when the server does.
class OpenStream {
 public:
  virtual ~OpenStream() = default;
  // Answers what was read, then ends the stream with Unavailable.
  virtual void End() = 0;
};

// How gRPC hands its calls over: as bytes (message_bytes.h).
using DetectionMethods = v1::DetectionService::WithRawMethod_Score<
    v1::DetectionService::WithRawMethod_ScoreLogs<v1::DetectionService::WithRawMethod_Feedback<
        v1::DetectionService::WithRawMethod_ScoreStream<v1::DetectionService::WithRawMethod_ScoreLogStream<
            v1::DetectionService::WithRawMethod_Calibrate<v1::DetectionService::Service>>>>>>;

class DetectionService final : public DetectionMethods {
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
    SerialExecutor* reader;  // of log lines
  };
  explicit DetectionService(const Parts& parts) : parts_(parts), unary_(parts.gate, parts.metrics) {}

  // Waits for calls of ScoreLogs, Feedback and Calibrate, before the lane starts. Must outlive its thread.
  void PostRare(Lane* lane);

  // Lets open streams answer what they have read and then ends them with UNAVAILABLE. The gate must be closed before.
  void EndStreams() ABSL_LOCKS_EXCLUDED(mutex_);

  const Parts& parts() const { return parts_; }

  // Called by calls.
  absl::Status AddStream(OpenStream* stream) ABSL_LOCKS_EXCLUDED(mutex_);
  void RemoveStream(OpenStream* stream) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status AddCalibration() ABSL_LOCKS_EXCLUDED(mutex_);
  void RemoveCalibration() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const Parts parts_;
  UnaryMethods unary_;
  absl::Mutex mutex_;
  std::set<OpenStream*> streams_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  size_t calibrations_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace astray
