#include "server/stream_scorer.h"

#include <utility>

#include "engine/base/status_macros.h"
#include "engine/detect/verdict_message.h"

namespace astray {

absl::Status StreamScorer::Begin(const v1::ModelRef& model, const v1::ScoreOptions& options) {
  ASSIGN_OR_RETURN(options_, ReadScoreOptions(options));
  ASSIGN_OR_RETURN(served_, registry_->Find(model));
  if (options_.score_function) RETURN_IF_ERROR(served_.detector->NoiseLevel().status());
  history_.emplace(served_.detector->features(), served_.detector->window());
  return absl::OkStatus();
}

void StreamScorer::FollowCalibration() {
  const DetectorModel& model = served_.detector->model();
  v1::ModelRef ref;
  ref.set_name(model.name);
  ref.set_version(model.version);
  absl::StatusOr<ServedDetector> now = registry_->Find(ref);
  if (now.ok() && now->detector->model().artifact_sha256 == model.artifact_sha256) served_ = *std::move(now);
}

absl::Status StreamScorer::Score(std::vector<v1::ScoreStreamRequest> requests,
                                 std::shared_ptr<const std::atomic<bool>> cancelled, Done done) {
  FollowCalibration();
  requests_ = std::move(requests);
  replies_ = std::vector<v1::ScoreResponse>(requests_.size());
  verdicts_.clear();
  rows_.clear();
  for (size_t i = 0; i < requests_.size(); ++i) {
    const v1::ScoreStreamRequest& request = requests_[i];
    v1::ScoreResponse& reply = replies_[i];
    FillProvenance(detector(), reply.mutable_provenance());
    reply.set_id(request.id());
    const size_t rows = static_cast<size_t>(request.values_size()) / detector().features();
    reply.mutable_verdicts()->Reserve(static_cast<int>(rows));
    for (size_t row = 0; row < rows; ++row) verdicts_.push_back(reply.add_verdicts());
    if (requests_.size() > 1) rows_.insert(rows_.end(), request.values().begin(), request.values().end());
  }
  const v1::ScoreStreamRequest& first = requests_.front();
  const std::span<const float> new_rows =
      requests_.size() > 1 ? std::span<const float>(rows_)
                           : std::span<const float>(first.values().data(), static_cast<size_t>(first.values_size()));
  RecordValues(new_rows, served_.metrics.get());

  ScoringJob job;
  job.detector = served_.detector;
  job.rows = history_->Extend(new_rows);
  job.options = options_;
  job.cancelled = std::move(cancelled);
  const size_t warming_up = history_->warming_up_rows();
  for (size_t i = 0; i < warming_up; ++i) FillWarmingUp(verdicts_[i]);
  job.consume = [this, warming_up, served = served_](size_t job_first, const ScoreResult& result, size_t from,
                                                     size_t count) {
    FillVerdicts(*served.detector, result, from, count, std::span(verdicts_).subspan(warming_up + job_first, count));
    served.metrics->RecordVerdicts(result, from, count);
  };
  job.done = std::move(done);
  return queue_->Submit(std::move(job), ScoringQueue::Admission::kAlways);
}

absl::Status StreamScorer::ScoreErrors(std::span<const float> rows, std::shared_ptr<const std::atomic<bool>> cancelled,
                                       decltype(ScoringJob::consume) consume, Done done) {
  ScoringJob job;
  job.detector = served_.detector;
  job.rows = history_->Extend(rows);
  job.options.top_contributors = 0;
  job.cancelled = std::move(cancelled);
  job.consume = std::move(consume);
  job.done = std::move(done);
  return queue_->Submit(std::move(job), ScoringQueue::Admission::kAlways);
}

}  // namespace astray
