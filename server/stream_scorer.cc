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
  // served_ stays what it is until the last job is done.
  job.consume = [this, &piece](size_t job_first, const ScoreResult& result, size_t first, size_t count) {
    Take(piece, job_first, result, first, count);
    if (!piece.replay) RecordVerdicts(result, first, count, served_, absl::Now());
  };
  return job;
}

absl::Status StreamScorer::Score(std::span<std::unique_ptr<Exchange>> requests, StreamRelease release,
                                 const std::shared_ptr<const std::atomic<bool>>& cancelled, JointScoring* scoring,
                                 const Done& done) {
  FollowCalibration(*registry_, &served_);
  const absl::Time now = absl::Now();
  for (std::unique_ptr<Exchange>& exchange : requests) {
    const auto& values = exchange->request.values();
    if (!exchange->request.replay()) {
      RecordValues({values.data(), static_cast<size_t>(values.size())}, served_, now);
    }
    streams_->Add(std::move(exchange));
  }
  if (release == StreamRelease::kAll) {
    streams_->ReleaseAll();
  } else {
    streams_->ReleaseWaitedFor(now);
  }
  const std::vector<EntityStreams::Piece>& pieces = streams_->Pieces();
  size_t verdicts = 0;
  for (const EntityStreams::Piece& piece : pieces) verdicts += piece.verdicts.size();
  // What is repaired or filled in takes long: the lane has to hear meanwhile whether the client is gone.
  if (verdicts <= ScoringQueue::kBatchRows && (verdicts == 0 || !options_.iterates())) {
    RETURN_IF_ERROR(ScoreHere(pieces, scoring));
    Finish();
    done(absl::OkStatus());
    return absl::OkStatus();
  }
  std::vector<ScoringJob> jobs;
  jobs.reserve(pieces.size());
  for (const EntityStreams::Piece& piece : pieces) jobs.push_back(MakeJob(piece));
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

absl::Status StreamScorer::ScoreHere(const std::vector<EntityStreams::Piece>& pieces, JointScoring* scoring) {
  const Detector& detector = *served_.detector;
  parts_.clear();
  size_t verdicts = 0;
  for (const EntityStreams::Piece& piece : pieces) {
    parts_.push_back({.rows = piece.rows,
                      .verdicts = piece.verdicts.size(),
                      .options = &options_,
                      .segment = detector.calibration().SegmentIndex(piece.segment)});
    verdicts += piece.verdicts.size();
  }
  if (verdicts > 0) metrics_->batch_rows().Observe(static_cast<double>(verdicts));
  for (size_t begin = 0; begin < parts_.size();) {
    absl::Status status;
    const size_t end = begin + scoring->ScoreFirst(detector, std::span(parts_).subspan(begin), &status);
    RETURN_IF_ERROR(status);
    TakeRun(std::span(pieces).subspan(begin, end - begin), scoring->result());
    begin = end;
  }
  return absl::OkStatus();
}

void StreamScorer::TakeRun(std::span<const EntityStreams::Piece> run, const ScoreResult& result) const {
  const absl::Time now = absl::Now();
  for (size_t i = 0, first = 0; i < run.size();) {
    const bool replay = run[i].replay;
    size_t next = first;
    for (; i < run.size() && run[i].replay == replay; ++i) {
      Take(run[i], 0, result, next, run[i].verdicts.size());
      next += run[i].verdicts.size();
    }
    if (!replay) RecordVerdicts(result, first, next - first, served_, now);
    first = next;
  }
}

void StreamScorer::Take(const EntityStreams::Piece& piece, size_t piece_first, const ScoreResult& result, size_t first,
                        size_t count) const {
  FillVerdicts(*served_.detector, result, first, count, std::span(piece.verdicts).subspan(piece_first, count));
  if (piece.replay) return;
  OfferToShadow(served_.shadow.get(), piece.rows, piece.segment, piece_first, result, first, count);
}

void StreamScorer::Finish() {
  replies_ = streams_->Finish();
  const double now = absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch());
  for (const std::unique_ptr<Exchange>& exchange : replies_) {
    for (const v1::Verdict& verdict : exchange->response.verdicts()) {
      if (verdict.alarm().state() == v1::Alarm::RAISED) served_.metrics->CountAlarm();
    }
    if (exchange->newest_unix_seconds != 0) metrics_->RecordStreamLag(now - exchange->newest_unix_seconds);
  }
  const EntityStreams::Counts& counts = streams_->counts();
  metrics_->CountStreamRows(counts, counted_);
  counted_ = counts;
  metrics_->stream_entities().Increment(static_cast<double>(streams_->size()) - static_cast<double>(counted_entities_));
  counted_entities_ = streams_->size();
}

}  // namespace astray
