#include "server/stream_scorer.h"

#include <utility>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "engine/base/status_macros.h"
#include "engine/detect/verdict_message.h"

namespace astray {
namespace {

// Calls `done` when the last of some jobs is, with the first error among them.
class JoinedDone {
 public:
  JoinedDone(size_t jobs, StreamScorer::Done done) : left_(jobs), done_(std::move(done)) {}
  void Finish(absl::Status status) {
    {
      absl::MutexLock lock(&mutex_);
      status_.Update(std::move(status));
      if (--left_ > 0) return;
    }
    done_(status_);
  }

 private:
  absl::Mutex mutex_;
  size_t left_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_;  // final once left_ is 0
  const StreamScorer::Done done_;
};

}  // namespace

StreamScorer::~StreamScorer() { metrics_->stream_entities().Decrement(static_cast<double>(counted_entities_)); }

absl::Status StreamScorer::Begin(const v1::ModelRef& model, const v1::ScoreOptions& options) {
  ASSIGN_OR_RETURN(served_, FindToScore(*registry_, model, options, &options_));
  RETURN_IF_ERROR(CheckNoFalseDiscoveryRate(options));
  const Detector& detector = *served_.detector;
  ASSIGN_OR_RETURN(const StreamPolicy policy, StreamPolicy::FromRecipe(detector.model().recipe));
  streams_.emplace(detector.features(), detector.window(), policy);
  return absl::OkStatus();
}

absl::Status StreamScorer::CheckRequest(const v1::ScoreStreamRequest& request) const {
  RETURN_IF_ERROR(
      CheckValues(*served_.detector, {request.values().data(), static_cast<size_t>(request.values_size())}));
  return streams_->Check(request);
}

ScoringJob StreamScorer::MakeJob(const EntityStreams::Piece& piece) {
  ScoringJob job;
  job.detector = served_.detector;
  job.rows = piece.rows;
  job.options = options_;
  job.segment = job.detector->calibration().SegmentIndex(piece.segment);
  job.consume = [&piece, served = served_](size_t job_first, const ScoreResult& result, size_t from, size_t count) {
    FillVerdicts(*served.detector, result, from, count, std::span(piece.verdicts).subspan(job_first, count));
    if (piece.replay) return;
    RecordVerdicts(result, from, count, served);
    OfferToShadow(served.shadow.get(), piece.rows, piece.segment, job_first, result, from, count);
  };
  return job;
}

absl::Status StreamScorer::Score(std::vector<Arrived> requests, StreamRelease release,
                                 const std::shared_ptr<const std::atomic<bool>>& cancelled, const Done& done) {
  FollowCalibration(*registry_, &served_);
  for (Arrived& arrived : requests) {
    const auto& values = arrived.request.values();
    if (!arrived.request.replay()) {
      RecordValues({values.data(), static_cast<size_t>(values.size())}, served_);
    }
    streams_->Add(std::move(arrived.request), arrived.time);
  }
  if (release == StreamRelease::kAll) {
    streams_->ReleaseAll();
  } else {
    streams_->ReleaseWaitedFor(absl::Now());
  }
  std::vector<ScoringJob> jobs;
  for (const EntityStreams::Piece& piece : streams_->Pieces()) jobs.push_back(MakeJob(piece));
  // Where nothing goes on, an empty job: the queue's threads call back, as for any other.
  if (jobs.empty()) jobs.push_back({.detector = served_.detector});
  const auto joined = std::make_shared<JoinedDone>(jobs.size(), [this, done](absl::Status status) {
    if (status.ok()) Finish();
    done(std::move(status));
  });
  for (ScoringJob& job : jobs) {
    job.cancelled = cancelled;
    job.done = [joined](absl::Status status) { joined->Finish(std::move(status)); };
  }
  return queue_->Submit(std::move(jobs), ScoringQueue::Admission::kAlways);
}

void StreamScorer::Finish() {
  replies_ = streams_->Finish();
  const double now = absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch());
  for (EntityStreams::Reply& reply : replies_) {
    FillProvenance(served_, reply.response.mutable_provenance());
    for (const v1::Verdict& verdict : reply.response.verdicts()) {
      if (verdict.alarm().state() == v1::Alarm::RAISED) served_.metrics->CountAlarm();
    }
    if (reply.newest_unix_seconds != 0) metrics_->RecordStreamLag(now - reply.newest_unix_seconds);
  }
  const EntityStreams::Counts& counts = streams_->counts();
  metrics_->CountStreamRows(counts, counted_);
  counted_ = counts;
  metrics_->stream_entities().Increment(static_cast<double>(streams_->size()) - static_cast<double>(counted_entities_));
  counted_entities_ = streams_->size();
}

}  // namespace astray
