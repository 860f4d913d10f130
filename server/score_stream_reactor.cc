#include "server/score_stream_reactor.h"

#include <iterator>
#include <span>
#include <utility>

#include "absl/time/clock.h"
#include "engine/base/status_macros.h"

namespace astray {

ScoreStreamReactor::ScoreStreamReactor(DetectionService* service)
    : service_(service),
      call_(service->parts().gate, service->parts().metrics, Method::kScoreStream),
      scorer_(service->parts().registry, service->parts().queue, service->parts().metrics) {}

ScoreStreamReactor::~ScoreStreamReactor() = default;

void ScoreStreamReactor::Start() {
  absl::Status status = call_.Admitted();
  if (status.ok()) {
    status = service_->AddStream(this);
    counted_ = status.ok();
  }
  absl::MutexLock lock(&mutex_);
  if (!status.ok()) Stop(std::move(status));
  Continue();
}

void ScoreStreamReactor::End() {
  absl::MutexLock lock(&mutex_);
  if (!stopped_) Stop(absl::UnavailableError("the server is shutting down"));
  Continue();
}

void ScoreStreamReactor::OnReadDone(bool ok) {
  absl::MutexLock lock(&mutex_);
  reading_ = false;
  if (!stopped_) {
    if (!ok) {
      Stop(absl::OkStatus());
    } else if (absl::Status status = Accept(); !status.ok()) {
      Stop(std::move(status));
    }
  }
  Continue();
}

absl::Status ScoreStreamReactor::Accept() {
  if (!begun_) {
    RETURN_IF_ERROR(scorer_.Begin(incoming_.model(), incoming_.options()));
    begun_ = true;
  }
  RETURN_IF_ERROR(scorer_.CheckRequest(incoming_));
  unanswered_ += 1;
  unanswered_values_ += static_cast<size_t>(incoming_.values_size());
  waiting_.push_back({.request = std::move(incoming_), .time = absl::Now()});
  incoming_.Clear();
  return absl::OkStatus();
}

void ScoreStreamReactor::OnScored(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  scoring_ = false;
  if (status.ok()) {
    std::vector<EntityStreams::Reply>& replies = scorer_.replies();
    replies_.insert(replies_.end(), std::make_move_iterator(replies.begin()), std::make_move_iterator(replies.end()));
  } else {
    waiting_.clear();
    Stop(status);
  }
  Continue();
}

void ScoreStreamReactor::OnWriteDone(bool ok) {
  absl::MutexLock lock(&mutex_);
  writing_ = false;
  service_->parts().metrics->RecordDuration(Method::kScoreStream, absl::Now() - replies_.front().arrival);
  replies_.pop_front();
  if (!ok) {
    // Nobody listens any more.
    waiting_.clear();
    replies_.clear();
    Stop(absl::CancelledError("the client is gone"));
  }
  Continue();
}

void ScoreStreamReactor::OnCancel() {
  call_.Cancel();
  absl::MutexLock lock(&mutex_);
  waiting_.clear();
  // The reply that is being written is gRPC's until OnWriteDone.
  if (!replies_.empty()) replies_.erase(replies_.begin() + (writing_ ? 1 : 0), replies_.end());
  Stop(absl::CancelledError("cancelled"));
  Continue();
}

void ScoreStreamReactor::OnTimer() {
  absl::MutexLock lock(&mutex_);
  timing_ = false;
  Continue();
}

void ScoreStreamReactor::Stop(absl::Status status) {
  stopped_ = true;
  status_.Update(std::move(status));  // the first error stays
  if (timing_) timer_.Cancel();       // OnTimer follows
}

void ScoreStreamReactor::ContinueScoring() {
  if (scoring_ || released_) return;
  unanswered_ = waiting_.size();
  unanswered_values_ = 0;
  for (const StreamScorer::Arrived& arrived : waiting_) {
    unanswered_values_ += static_cast<size_t>(arrived.request.values_size());
  }
  const bool last = stopped_ && begun_;
  released_ = last;
  const absl::Time release = scorer_.next_release();
  if (waiting_.empty() && (last ? release == absl::InfiniteFuture() : release > absl::Now())) return;
  const absl::Status status = scorer_.Score(
      std::exchange(waiting_, {}), last ? StreamScorer::Release::kAll : StreamScorer::Release::kWaitedForLong,
      call_.cancelled(), [this](const absl::Status& scored) { OnScored(scored); });
  scoring_ = status.ok();
  if (!status.ok()) Stop(status);
}

void ScoreStreamReactor::ContinueTimer() {
  if (timing_ || scoring_ || stopped_) return;
  const absl::Time next = scorer_.next_release();
  if (next == absl::InfiniteFuture()) return;
  timing_ = true;
  timer_.Set(absl::ToChronoTime(next), [this](bool /*rang*/) { OnTimer(); });
}

void ScoreStreamReactor::Continue() {
  if (finished_) return;
  ContinueScoring();
  ContinueTimer();
  if (!writing_ && !replies_.empty()) {
    writing_ = true;
    StartWrite(&replies_.front().response);
  }
  if (!stopped_ && !reading_ && unanswered_ + replies_.size() < kMaxUnanswered &&
      unanswered_values_ < kMaxUnansweredValues) {
    reading_ = true;
    StartRead(&incoming_);
  }
  if (stopped_ && waiting_.empty() && !scoring_ && !writing_ && !timing_) {
    finished_ = true;
    Finish(call_.End(status_));
  }
}

void ScoreStreamReactor::OnDone() {
  if (counted_) service_->RemoveStream(this);
  delete this;
}

}  // namespace astray
