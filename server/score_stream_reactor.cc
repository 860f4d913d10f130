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
  const auto size = static_cast<size_t>(incoming_.values_size());
  RETURN_IF_ERROR(StreamScorer::CheckEntity(incoming_.entity()));
  RETURN_IF_ERROR(scorer_.Check(std::span<const float>(incoming_.values().data(), size)));
  arrivals_.push_back(absl::Now());
  sizes_.push_back(size);
  unanswered_values_ += size;
  waiting_.push_back(std::move(incoming_));
  incoming_.Clear();
  return absl::OkStatus();
}

void ScoreStreamReactor::OnScored(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  scoring_ = false;
  if (status.ok()) {
    std::vector<v1::ScoreResponse>& replies = scorer_.replies();
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
  service_->parts().metrics->RecordDuration(Method::kScoreStream, absl::Now() - arrivals_.front());
  unanswered_values_ -= sizes_.front();
  replies_.pop_front();
  arrivals_.pop_front();
  sizes_.pop_front();
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

void ScoreStreamReactor::Stop(absl::Status status) {
  stopped_ = true;
  status_.Update(std::move(status));  // the first error stays
}

void ScoreStreamReactor::Continue() {
  if (finished_) return;
  if (!scoring_ && !waiting_.empty()) {
    const absl::Status status = scorer_.Score(std::exchange(waiting_, {}), call_.cancelled(),
                                              [this](const absl::Status& scored) { OnScored(scored); });
    scoring_ = status.ok();
    if (!status.ok()) Stop(status);
  }
  if (!writing_ && !replies_.empty()) {
    writing_ = true;
    StartWrite(&replies_.front());
  }
  if (!stopped_ && !reading_ && sizes_.size() < kMaxUnanswered && unanswered_values_ < kMaxUnansweredValues) {
    reading_ = true;
    StartRead(&incoming_);
  }
  if (stopped_ && waiting_.empty() && !scoring_ && !writing_) {
    finished_ = true;
    Finish(call_.End(status_));
  }
}

void ScoreStreamReactor::OnDone() {
  if (counted_) service_->RemoveStream(this);
  delete this;
}

}  // namespace astray
