#include "server/stream_scorer.h"

#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
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

absl::Status StreamScorer::Begin(const v1::ModelRef& model, const v1::ScoreOptions& options) {
  ASSIGN_OR_RETURN(options_, ReadScoreOptions(options));
  ASSIGN_OR_RETURN(served_, registry_->Find(model));
  if (options_.score_function) RETURN_IF_ERROR(served_.detector->NoiseLevel().status());
  windows_.emplace(served_.detector->features(), served_.detector->window(), metrics_);
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

absl::Status StreamScorer::CheckEntity(const std::string& entity) {
  if (entity.size() <= EntityWindows::kMaxNameBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("entity: expected at most ", EntityWindows::kMaxNameBytes, " bytes, got ", entity.size()));
}

void StreamScorer::GroupByEntity() {
  entities_.clear();
  absl::flat_hash_map<absl::string_view, size_t> places;
  for (size_t i = 0; i < requests_.size(); ++i) {
    const v1::ScoreStreamRequest& request = requests_[i];
    const auto [place, is_new] = places.emplace(request.entity(), entities_.size());
    if (is_new) entities_.push_back({.history = &windows_->Of(request.entity()), .first_request = i});
    EntityRows& entity = entities_[place->second];
    v1::ScoreResponse& reply = replies_[i];
    FillProvenance(detector(), reply.mutable_provenance());
    reply.set_id(request.id());
    reply.set_entity(request.entity());
    const size_t rows = static_cast<size_t>(request.values_size()) / detector().features();
    reply.mutable_verdicts()->Reserve(static_cast<int>(rows));
    for (size_t row = 0; row < rows; ++row) entity.verdicts.push_back(reply.add_verdicts());
    const auto values = [&](size_t k) {
      const auto& from = requests_[k].values();
      entity.rows.insert(entity.rows.end(), from.begin(), from.end());
    };
    if (++entity.requests == 2) values(entity.first_request);
    if (entity.requests >= 2) values(i);
  }
}

ScoringJob StreamScorer::MakeJob(EntityRows* entity) {
  const v1::ScoreStreamRequest& first = requests_[entity->first_request];
  const std::span<const float> new_rows =
      entity->requests > 1 ? std::span<const float>(entity->rows)
                           : std::span<const float>(first.values().data(), static_cast<size_t>(first.values_size()));
  RecordValues(new_rows, served_.metrics.get());
  ScoringJob job;
  job.detector = served_.detector;
  job.rows = entity->history->Extend(new_rows);
  job.options = options_;
  const size_t warming_up = entity->history->warming_up_rows();
  for (size_t i = 0; i < warming_up; ++i) FillWarmingUp(entity->verdicts[i]);
  job.consume = [entity, warming_up, served = served_](size_t job_first, const ScoreResult& result, size_t from,
                                                       size_t count) {
    FillVerdicts(*served.detector, result, from, count,
                 std::span(entity->verdicts).subspan(warming_up + job_first, count));
    served.metrics->RecordVerdicts(result, from, count);
  };
  return job;
}

absl::Status StreamScorer::Score(std::vector<v1::ScoreStreamRequest> requests,
                                 const std::shared_ptr<const std::atomic<bool>>& cancelled, Done done) {
  FollowCalibration();
  requests_ = std::move(requests);
  replies_ = std::vector<v1::ScoreResponse>(requests_.size());
  GroupByEntity();
  const auto joined = std::make_shared<JoinedDone>(entities_.size(), std::move(done));
  std::vector<ScoringJob> jobs;
  for (EntityRows& entity : entities_) {
    jobs.push_back(MakeJob(&entity));
    jobs.back().cancelled = cancelled;
    jobs.back().done = [joined](absl::Status status) { joined->Finish(std::move(status)); };
  }
  return queue_->Submit(std::move(jobs), ScoringQueue::Admission::kAlways);
}

absl::Status StreamScorer::ScoreErrors(std::span<const float> rows, std::shared_ptr<const std::atomic<bool>> cancelled,
                                       decltype(ScoringJob::consume) consume, Done done) {
  ScoringJob job;
  job.detector = served_.detector;
  job.rows = windows_->Of("").Extend(rows);
  job.options.top_contributors = 0;
  job.cancelled = std::move(cancelled);
  job.consume = std::move(consume);
  job.done = std::move(done);
  return queue_->Submit(std::move(job), ScoringQueue::Admission::kAlways);
}

}  // namespace astray
