#include "server/stream_call.h"

#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "engine/base/status_macros.h"
#include "server/log_scorer.h"
#include "server/message_bytes.h"
#include "server/scoring.h"
#include "server/stream_scorer.h"

namespace astray {
namespace {

// The generated function that asks for a call of the method.
template <typename Scorer>
constexpr auto kRequestStream = nullptr;
template <>
constexpr auto kRequestStream<StreamScorer> = &DetectionService::RequestScoreStream;
template <>
constexpr auto kRequestStream<LogScorer> = &DetectionService::RequestScoreLogStream;

}  // namespace

template <typename Scorer>
void StreamLane<Scorer>::Post() {
  new StreamCall<Scorer>(this);
}

template <typename Scorer>
std::unique_ptr<typename Scorer::Exchange> StreamLane<Scorer>::MakeExchange() {
  if (spare_.empty()) return std::make_unique<Exchange>();
  std::unique_ptr<Exchange> exchange = std::move(spare_.back());
  spare_.pop_back();
  return exchange;
}

template <typename Scorer>
void StreamLane<Scorer>::Recycle(std::unique_ptr<Exchange> exchange, size_t reply_bytes) {
  if (spare_.size() == kMostSpare || Scorer::SizeOf(exchange->request) + reply_bytes / 4 > kMostSpareValues) return;
  exchange->request.Clear();  // what was not counted, such as the name of a model, goes
  exchange->response.Clear();
  spare_.push_back(std::move(exchange));
}

template <typename Scorer>
StreamCall<Scorer>::StreamCall(StreamLane<Scorer>* shared)
    : LaneCall(shared->lane()),
      shared_(shared),
      parts_(shared->service()->parts()),
      stream_(context()),
      scorer_(parts_.registry, parts_.queue, parts_.metrics) {
  (shared_->service()->*kRequestStream<Scorer>)(context(), &stream_, lane()->queue(), lane()->queue(), arrived_tag());
}

template <typename Scorer>
void StreamCall<Scorer>::Begin() {
  call_.emplace(parts_.gate, parts_.metrics, Scorer::kMethod);
  absl::Status status = call_->Admitted();
  if (status.ok()) {
    status = shared_->service()->AddStream(this);
    counted_ = status.ok();
  }
  if (!status.ok()) Stop(std::move(status));
  Continue();
}

template <typename Scorer>
void StreamCall<Scorer>::End() {
  lane()->Send(Open(&ending_tag_));
}

template <typename Scorer>
void StreamCall<Scorer>::Ending(bool /*ok*/) {
  if (!stopped_) Stop(absl::UnavailableError("the server is shutting down"));
  Continue();
}

template <typename Scorer>
void StreamCall<Scorer>::Read(bool ok) {
  reading_ = false;
  if (!stopped_) {
    if (!ok) {
      Stop(absl::OkStatus());
    } else if (absl::Status status = Accept(); !status.ok()) {
      Stop(std::move(status));
    }
  }
  ContinueReading();  // what came together is taken together
  MakeDue();
}

template <typename Scorer>
absl::Status StreamCall<Scorer>::Accept() {
  std::unique_ptr<Exchange> exchange = shared_->MakeExchange();
  const typename Scorer::Request& request = exchange->request;
  RETURN_IF_ERROR(ParseMessage(&bytes_, &exchange->request));
  if (!begun_) {
    RETURN_IF_ERROR(scorer_.Begin(request.model(), request.options()));
    begun_ = true;
  }
  RETURN_IF_ERROR(scorer_.CheckRequest(request));
  exchange->arrival = absl::Now();
  unanswered_ += 1;
  unanswered_values_ += Scorer::SizeOf(request);
  waiting_.push_back(std::move(exchange));
  return absl::OkStatus();
}

template <typename Scorer>
void StreamCall<Scorer>::Scored(bool /*ok*/) {
  TakeScored(scored_status_);
  Continue();
}

template <typename Scorer>
void StreamCall<Scorer>::TakeScored(const absl::Status& status) {
  scoring_ = false;
  unanswered_ = waiting_.size();
  unanswered_values_ = 0;
  for (const std::unique_ptr<Exchange>& exchange : waiting_) unanswered_values_ += Scorer::SizeOf(exchange->request);
  if (!status.ok()) {
    waiting_.clear();
    Stop(status);
    return;
  }
  typename Scorer::Response common;
  FillProvenance(scorer_.served(), common.mutable_provenance());
  const std::string provenance = common.SerializeAsString();
  const absl::Time now = absl::Now();
  seconds_.clear();
  for (std::unique_ptr<Exchange>& exchange : scorer_.TakeReplies()) {
    seconds_.push_back(absl::ToDoubleSeconds(now - exchange->arrival));
    replies_.push_back(SerializeMessage(exchange->response, provenance));
    shared_->Recycle(std::move(exchange), replies_.back().Length());
  }
  parts_.metrics->RecordDurations(Scorer::kMethod, seconds_);
}

template <typename Scorer>
void StreamCall<Scorer>::Wrote(bool ok) {
  writing_ = false;
  if (!ok) {
    // Nobody listens any more.
    Drop();
    Stop(absl::CancelledError("the client is gone"));
  }
  ContinueWriting();
  MakeDue();
}

template <typename Scorer>
void StreamCall<Scorer>::Gone(bool /*ok*/) {
  if (finished_ || !context()->IsCancelled()) return;
  call_->Cancel();
  Drop();
  Stop(absl::CancelledError("cancelled"));
  Continue();
}

template <typename Scorer>
void StreamCall<Scorer>::Rang(bool /*ok*/) {
  timing_ = false;
  Continue();
}

template <typename Scorer>
void StreamCall<Scorer>::Due(bool /*ok*/) {
  due_ = false;
  Continue();
}

template <typename Scorer>
void StreamCall<Scorer>::Finished(bool /*ok*/) {
  call_.reset();  // leaves the gate
}

template <typename Scorer>
void StreamCall<Scorer>::Drop() {
  waiting_.clear();
  replies_.clear();
}

template <typename Scorer>
void StreamCall<Scorer>::Stop(absl::Status status) {
  stopped_ = true;
  status_.Update(std::move(status));  // the first error stays
  if (timing_) timer_.Cancel();       // Rang follows
}

template <typename Scorer>
void StreamCall<Scorer>::MakeDue() {
  if (std::exchange(due_, true)) return;
  lane()->Later(Open(&due_tag_));
}

template <typename Scorer>
void StreamCall<Scorer>::ContinueScoring() {
  if (scoring_ || released_) return;
  // What waits is answered where the client ended the stream; where something broke it would be answered too early.
  const bool last = stopped_ && begun_ && status_.ok();
  released_ = stopped_;
  if (waiting_.empty() && (last ? !scorer_.waits() : stopped_ || scorer_.next_release() > absl::Now())) return;
  scoring_ = true;
  Open(&scored_tag_);
  const auto done = [this](const absl::Status& status) {
    if (lane()->IsCurrent()) {
      TakeScored(status);
    } else {
      scored_status_ = status;
      lane()->Send(&scored_tag_);
    }
  };
  taken_.swap(waiting_);
  const absl::Status status = scorer_.Score(taken_, last ? StreamRelease::kAll : StreamRelease::kWaitedForLong,
                                            call_->cancelled(), shared_->scoring(), done);
  taken_.clear();
  if (!status.ok()) {
    scoring_ = false;
    Stop(status);
  }
  if (!scoring_) Close();  // not the last: whoever called this has a tag open
}

template <typename Scorer>
void StreamCall<Scorer>::ContinueTimer() {
  if (timing_ || scoring_ || stopped_) return;
  const absl::Time next = scorer_.next_release();
  if (next == absl::InfiniteFuture()) return;
  timing_ = true;
  timer_.Set(lane()->queue(), absl::ToChronoTime(next), Open(&rang_tag_));
}

template <typename Scorer>
void StreamCall<Scorer>::ContinueReading() {
  if (stopped_ || reading_ || unanswered_ + replies_.size() >= kMaxUnanswered ||
      unanswered_values_ >= kMaxUnansweredValues) {
    return;
  }
  reading_ = true;
  stream_.Read(&bytes_, Open(&read_tag_));
}

template <typename Scorer>
void StreamCall<Scorer>::ContinueWriting() {
  if (finished_ || writing_ || replies_.empty()) return;
  writing_ = true;
  // Where another reply is ready, gRPC may keep this one back for it. Not the first: the headers that go with it would
  // be kept back, too, and the write would not end until they are out.
  grpc::WriteOptions options;
  if (written_ && replies_.size() > 1) options.set_buffer_hint();
  written_ = true;
  stream_.Write(replies_.front(), options, Open(&wrote_tag_));
  replies_.pop_front();
}

template <typename Scorer>
void StreamCall<Scorer>::Continue() {
  if (finished_) return;
  ContinueScoring();
  ContinueTimer();
  ContinueWriting();
  ContinueReading();
  if (stopped_ && waiting_.empty() && replies_.empty() && !scoring_ && !writing_ && !timing_) {
    finished_ = true;
    // From here on no End comes.
    if (counted_) shared_->service()->RemoveStream(this);
    stream_.Finish(call_->End(status_), Open(&finished_tag_));
  }
}

template class StreamLane<StreamScorer>;
template class StreamLane<LogScorer>;
template class StreamCall<StreamScorer>;
template class StreamCall<LogScorer>;

}  // namespace astray
