// One call of ScoreStream or ScoreLogStream: replies in the order in which the Scorer has them. Whatever was read while
// a job was being scored is scored together by the next one; reading pauses while too much is unanswered, what waits in
// the scorer not counted. A timer sends that on. Owns itself.
//
// A Scorer (StreamScorer, LogScorer) has Request, Response, Arrived {request, time} and Reply {response, arrival};
// Begin, CheckRequest, Score, TakeReplies, waits and next_release as StreamScorer says, and the size of a request, in
// values.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "astray/v1/service.pb.h"
#include "grpcpp/alarm.h"
#include "grpcpp/support/server_callback.h"
#include "server/call.h"
#include "server/detection_service.h"

namespace astray {

template <typename Scorer>
class StreamReactor final : public grpc::ServerBidiReactor<typename Scorer::Request, typename Scorer::Response>,
                            public OpenStream {
 public:
  static constexpr size_t kMaxUnanswered = 64;                     // requests
  static constexpr size_t kMaxUnansweredValues = size_t{1} << 20;  // of them together, or one request

  explicit StreamReactor(DetectionService* service);
  ~StreamReactor() override;

  void Start() ABSL_LOCKS_EXCLUDED(mutex_);
  void End() override ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void OnReadDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnCancel() override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnDone() override;
  void OnScored(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);
  void OnTimer() ABSL_LOCKS_EXCLUDED(mutex_);

  absl::Status Accept() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);  // the message just read
  void Stop(absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Continue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);  // starts whatever can be started now
  void ContinueScoring() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ContinueTimer() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  DetectionService* service_;
  Call call_;
  bool counted_ = false;
  typename Scorer::Request incoming_;

  absl::Mutex mutex_;
  Scorer scorer_ ABSL_GUARDED_BY(mutex_);
  bool begun_ ABSL_GUARDED_BY(mutex_) = false;
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool scoring_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool timing_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;   // nothing more is read
  bool released_ ABSL_GUARDED_BY(mutex_) = false;  // and nothing waits for late rows any more
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::vector<typename Scorer::Arrived> waiting_ ABSL_GUARDED_BY(mutex_);
  std::deque<typename Scorer::Reply> replies_ ABSL_GUARDED_BY(mutex_);  // the first is being written
  size_t unanswered_ ABSL_GUARDED_BY(mutex_) = 0;                       // requests that wait or are scored, and replies
  size_t unanswered_values_ ABSL_GUARDED_BY(mutex_) = 0;                // of those requests
  grpc::Alarm timer_;
};

}  // namespace astray
