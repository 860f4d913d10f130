// One ScoreStream call: replies in the order of the requests. Whatever was read while a job was being scored is scored
// together by the next one; reading pauses while too much is unanswered. Owns itself.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "astray/v1/service.pb.h"
#include "grpcpp/support/server_callback.h"
#include "server/call.h"
#include "server/detection_service.h"
#include "server/stream_scorer.h"

namespace astray {

class ScoreStreamReactor final : public grpc::ServerBidiReactor<v1::ScoreStreamRequest, v1::ScoreResponse> {
 public:
  static constexpr size_t kMaxUnanswered = 64;                     // requests
  static constexpr size_t kMaxUnansweredValues = size_t{1} << 20;  // of them together, or one request

  explicit ScoreStreamReactor(DetectionService* service);
  ~ScoreStreamReactor() override;

  void Start() ABSL_LOCKS_EXCLUDED(mutex_);
  // Answers what was read, then ends the stream with Unavailable.
  void End() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void OnReadDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnCancel() override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnDone() override;
  void OnScored(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);

  absl::Status Accept() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);  // the message just read
  void Stop(absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Continue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);  // starts whatever can be started now

  DetectionService* service_;
  Call call_;
  bool counted_ = false;
  v1::ScoreStreamRequest incoming_;

  absl::Mutex mutex_;
  StreamScorer scorer_ ABSL_GUARDED_BY(mutex_);
  bool begun_ ABSL_GUARDED_BY(mutex_) = false;
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool scoring_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;  // nothing more is read
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::ScoreStreamRequest> waiting_ ABSL_GUARDED_BY(mutex_);
  std::deque<v1::ScoreResponse> replies_ ABSL_GUARDED_BY(mutex_);  // the first is being written
  std::deque<absl::Time> arrivals_ ABSL_GUARDED_BY(mutex_);        // of everything unanswered
  std::deque<size_t> sizes_ ABSL_GUARDED_BY(mutex_);               // in values
  size_t unanswered_values_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace astray
