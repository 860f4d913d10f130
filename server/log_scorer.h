// Scores the lines of a log, whatever the transport: LogSessions' sessions as rows through the queue.
//
// A stream keeps the artifact that it began with, and follows that artifact's calibrations. One that is silent for as
// long as a session may be idle completes the sessions that are open. Not thread-safe; one Score at a time.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "astray/v1/service.pb.h"
#include "engine/features/log_sessions.h"
#include "server/detector_registry.h"
#include "server/scoring.h"
#include "server/scoring_queue.h"

namespace astray {

class LogScorer {
 public:
  static constexpr Method kMethod = Method::kScoreLogStream;
  using Request = v1::ScoreLogsRequest;
  using Response = v1::ScoreLogsResponse;
  struct Exchange {
    Request request;
    absl::Time arrival;
    Response response;
  };
  using Done = std::function<void(absl::Status)>;

  // All must outlive the scorer.
  LogScorer(const DetectorRegistry* registry, ScoringQueue* queue, Metrics* metrics)
      : registry_(registry), queue_(queue), metrics_(metrics) {}
  ~LogScorer();
  LogScorer(const LogScorer&) = delete;
  LogScorer& operator=(const LogScorer&) = delete;

  // Chooses the detector. Once, before everything else. Errors are those of ScoreLogs.
  absl::Status Begin(const v1::ModelRef& model, const v1::ScoreOptions& options);
  static absl::Status CheckRequest(const Request& /*request*/) { return absl::OkStatus(); }  // any bytes are lines
  static size_t SizeOf(const Request& request);                                              // four bytes are a value

  // A request whose sessions the next Score scores, and the exchange of its reply, which may be its own.
  void Take(const Request& request, std::unique_ptr<Exchange> exchange);
  // Takes requests and scores the sessions that are complete. When `done` is called, once, with OK or Cancelled,
  // TakeReplies() has one for each request, and another one, without an id, for what a release completes. Other errors:
  // `done` is not called. Sessions are scored by the workers, always.
  absl::Status Score(std::span<std::unique_ptr<Exchange>> requests, StreamRelease release,
                     const std::shared_ptr<const std::atomic<bool>>& cancelled, JointScoring* scoring,
                     const Done& done);
  std::vector<std::unique_ptr<Exchange>> TakeReplies() { return std::exchange(replies_, {}); }
  const ServedDetector& served() const { return served_; }  // as StreamScorer's
  bool waits() const { return sessions_ && sessions_->open() > 0; }
  absl::Time next_release() const;

  // ScoreLogs': where the queue is full, ResourceExhausted; after the deadline, DeadlineExceeded.
  void SetLimits(ScoringQueue::Admission admission, absl::Time deadline) {
    admission_ = admission;
    deadline_ = deadline;
  }

 private:
  void TakeClosed();  // in the last of replies_
  void Finish();

  const DetectorRegistry* registry_;
  ScoringQueue* queue_;
  Metrics* metrics_;
  ServedDetector served_;
  ScoreOptions options_;
  ScoringQueue::Admission admission_ = ScoringQueue::Admission::kAlways;
  absl::Time deadline_ = absl::InfiniteFuture();
  std::optional<LogSessions> sessions_;
  absl::Duration longest_silence_ = absl::InfiniteDuration();
  absl::Time last_arrival_;
  size_t counted_open_ = 0;  // in metrics
  // Of the next Score.
  std::vector<std::unique_ptr<Exchange>> replies_;
  std::vector<LogSession> closed_;              // not yet taken
  std::vector<LogSession> complete_;            // being scored
  std::vector<v1::SessionVerdict*> verdicts_;   // beside complete_, of replies_
  std::vector<v1::Verdict*> verdict_messages_;  // theirs
  std::vector<float> rows_;
};

// Scores one request through the queue, as Score does (scoring.h). Errors are those of DetectionService.ScoreLogs.
void ScoreLogs(const DetectorRegistry* registry, ScoringQueue* queue, Metrics* metrics,
               const v1::ScoreLogsRequest& request, v1::ScoreLogsResponse* response, const CallLimits& limits,
               const std::function<void(absl::Status)>& done);

}  // namespace astray
