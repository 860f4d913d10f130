#include "server/stream_reactor.h"

#include <iterator>
#include <utility>

#include "absl/time/clock.h"
#include "engine/base/status_macros.h"
#include "server/log_scorer.h"
#include "server/stream_scorer.h"

namespace astray {

template <typename Scorer>
StreamReactor<Scorer>::StreamReactor(DetectionService* service)
    : service_(service),
      call_(service->parts().gate, service->parts().metrics, Scorer::kMethod),
      scorer_(service->parts().registry, service->parts().queue, service->parts().metrics) {}

template <typename Scorer>
StreamReactor<Scorer>::~StreamReactor() = default;

template <typename Scorer>
void StreamReactor<Scorer>::Start() {
  absl::Status status = call_.Admitted();
  if (status.ok()) {
    status = service_->AddStream(this);
    counted_ = status.ok();
  }
  absl::MutexLock lock(&mutex_);
  if (!status.ok()) Stop(std::move(status));
  Continue();
}

template <typename Scorer>
void StreamReactor<Scorer>::End() {
  absl::MutexLock lock(&mutex_);
  if (!stopped_) Stop(absl::UnavailableError("the server is shutting down"));
  Continue();
}

template <typename Scorer>
void StreamReactor<Scorer>::OnReadDone(bool ok) {
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

template <typename Scorer>
absl::Status StreamReactor<Scorer>::Accept() {
  if (!begun_) {
    RETURN_IF_ERROR(scorer_.Begin(incoming_.model(), incoming_.options()));
    begun_ = true;
  }
  RETURN_IF_ERROR(scorer_.CheckRequest(incoming_));
  unanswered_ += 1;
  unanswered_values_ += Scorer::SizeOf(incoming_);
  waiting_.push_back({.request = std::move(incoming_), .time = absl::Now()});
  incoming_.Clear();
  return absl::OkStatus();
}

template <typename Scorer>
void StreamReactor<Scorer>::OnScored(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  scoring_ = false;
  if (status.ok()) {
    std::vector<typename Scorer::Reply> replies = scorer_.TakeReplies();
    replies_.insert(replies_.end(), std::make_move_iterator(replies.begin()), std::make_move_iterator(replies.end()));
  } else {
    waiting_.clear();
    Stop(status);
  }
  Continue();
}

template <typename Scorer>
void StreamReactor<Scorer>::OnWriteDone(bool ok) {
  absl::MutexLock lock(&mutex_);
  writing_ = false;
  service_->parts().metrics->RecordDuration(Scorer::kMethod, absl::Now() - replies_.front().arrival);
  replies_.pop_front();
  if (!ok) {
    // Nobody listens any more.
    waiting_.clear();
    replies_.clear();
    Stop(absl::CancelledError("the client is gone"));
  }
  Continue();
}

template <typename Scorer>
void StreamReactor<Scorer>::OnCancel() {
  call_.Cancel();
  absl::MutexLock lock(&mutex_);
  waiting_.clear();
  // The reply that is being written is gRPC's until OnWriteDone.
  if (!replies_.empty()) replies_.erase(replies_.begin() + (writing_ ? 1 : 0), replies_.end());
  Stop(absl::CancelledError("cancelled"));
  Continue();
}

template <typename Scorer>
void StreamReactor<Scorer>::OnTimer() {
  absl::MutexLock lock(&mutex_);
  timing_ = false;
  Continue();
}

template <typename Scorer>
void StreamReactor<Scorer>::Stop(absl::Status status) {
  stopped_ = true;
  status_.Update(std::move(status));  // the first error stays
  if (timing_) timer_.Cancel();       // OnTimer follows
}

template <typename Scorer>
void StreamReactor<Scorer>::ContinueScoring() {
  if (scoring_ || released_) return;
  unanswered_ = waiting_.size();
  unanswered_values_ = 0;
  for (const typename Scorer::Arrived& arrived : waiting_) {
    unanswered_values_ += Scorer::SizeOf(arrived.request);
  }
  // What waits is answered where the client ended the stream; where something broke it would be answered too early.
  const bool last = stopped_ && begun_ && status_.ok();
  released_ = stopped_;
  if (waiting_.empty() && (last ? !scorer_.waits() : stopped_ || scorer_.next_release() > absl::Now())) return;
  const absl::Status status =
      scorer_.Score(std::exchange(waiting_, {}), last ? StreamRelease::kAll : StreamRelease::kWaitedForLong,
                    call_.cancelled(), [this](const absl::Status& scored) { OnScored(scored); });
  scoring_ = status.ok();
  if (!status.ok()) Stop(status);
}

template <typename Scorer>
void StreamReactor<Scorer>::ContinueTimer() {
  if (timing_ || scoring_ || stopped_) return;
  const absl::Time next = scorer_.next_release();
  if (next == absl::InfiniteFuture()) return;
  timing_ = true;
  timer_.Set(absl::ToChronoTime(next), [this](bool /*rang*/) { OnTimer(); });
}

template <typename Scorer>
void StreamReactor<Scorer>::Continue() {
  if (finished_) return;
  ContinueScoring();
  ContinueTimer();
  if (!writing_ && !replies_.empty()) {
    writing_ = true;
    this->StartWrite(&replies_.front().response);
  }
  if (!stopped_ && !reading_ && unanswered_ + replies_.size() < kMaxUnanswered &&
      unanswered_values_ < kMaxUnansweredValues) {
    reading_ = true;
    this->StartRead(&incoming_);
  }
  if (stopped_ && waiting_.empty() && !scoring_ && !writing_ && !timing_) {
    finished_ = true;
    this->Finish(call_.End(status_));
  }
}

template <typename Scorer>
void StreamReactor<Scorer>::OnDone() {
  if (counted_) service_->RemoveStream(this);
  delete this;
}

template class StreamReactor<StreamScorer>;
template class StreamReactor<LogScorer>;

}  // namespace astray
