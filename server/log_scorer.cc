#include "server/log_scorer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/base/status_macros.h"
#include "engine/detect/session_verdict.h"
#include "engine/detect/verdict_message.h"

namespace astray {
namespace {

// For how long a session of this recipe may be silent; for ever where lines are counted.
absl::Duration LongestSilence(const v1::LogRecipe& recipe) {
  if (recipe.has_window_seconds()) return absl::Seconds(recipe.window_seconds());
  if (recipe.has_session_pattern() && recipe.idle_seconds() > 0) return absl::Seconds(recipe.idle_seconds());
  return absl::InfiniteDuration();
}

}  // namespace

LogScorer::~LogScorer() { metrics_->log_sessions().Decrement(static_cast<double>(counted_open_)); }

absl::Status LogScorer::Begin(const v1::ModelRef& model, const v1::ScoreOptions& options) {
  ASSIGN_OR_RETURN(served_, FindToScore(*registry_, model, options, &options_));
  RETURN_IF_ERROR(CheckNoFalseDiscoveryRate(options));
  const DetectorModel& found = served_.detector->model();
  const LogTransform* log = found.pipeline.log();
  if (log == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat("model '", found.name, "' version ", found.version,
                                                      " was not trained on a log: it scores rows, by Score"));
  }
  sessions_.emplace(log);
  longest_silence_ = LongestSilence(log->rules().recipe());
  return absl::OkStatus();
}

size_t LogScorer::SizeOf(const Request& request) {
  size_t bytes = 0;
  for (const std::string& line : request.lines()) bytes += line.size() + 1;
  return bytes / sizeof(float) + 1;
}

absl::Time LogScorer::next_release() const {
  return waits() ? last_arrival_ + longest_silence_ : absl::InfiniteFuture();
}

void LogScorer::TakeClosed() {
  for (LogSession& session : closed_) {
    v1::SessionVerdict* message = replies_.back()->response.add_sessions();
    FillSession(session, message);
    served_.metrics->CountLogLines(message->lines(), message->unseen_lines());
    verdicts_.push_back(message);
    verdict_messages_.push_back(message->mutable_verdict());
    complete_.push_back(std::move(session));
  }
  closed_.clear();
}

void LogScorer::Take(const Request& request, std::unique_ptr<Exchange> exchange) {
  exchange->response.set_id(request.id());
  for (const std::string& line : request.lines()) sessions_->Add(line, &closed_);
  last_arrival_ = exchange->arrival;
  replies_.push_back(std::move(exchange));
  TakeClosed();
}

absl::Status LogScorer::Score(std::span<std::unique_ptr<Exchange>> requests, StreamRelease release,
                              const std::shared_ptr<const std::atomic<bool>>& cancelled, JointScoring* /*scoring*/,
                              const Done& done) {
  FollowCalibration(*registry_, &served_);
  const bool silent = requests.empty() && next_release() <= absl::Now();
  for (std::unique_ptr<Exchange>& exchange : requests) {
    const Request& request = exchange->request;
    Take(request, std::move(exchange));
  }
  if (silent || release == StreamRelease::kAll) {
    sessions_->Flush(&closed_);
    if (!closed_.empty()) {
      replies_.push_back(std::make_unique<Exchange>());
      replies_.back()->arrival = absl::Now();
      TakeClosed();
    }
  }
  FillSessionRows(*served_.detector->model().pipeline.log(), complete_, &rows_);
  served_.drift->ObserveRows(rows_, absl::Now());
  ScoringJob job;
  job.detector = served_.detector;
  job.rows = rows_;
  job.options = options_;
  job.deadline = deadline_;
  job.cancelled = cancelled;
  job.consume = [this](size_t job_first, const ScoreResult& result, size_t first, size_t count) {
    FillVerdicts(*served_.detector, result, first, count, std::span(verdict_messages_).subspan(job_first, count));
    RecordVerdicts(result, first, count, served_, absl::Now());
    OfferToShadow(served_.shadow.get(), rows_, "", job_first, result, first, count);
  };
  job.done = [this, done](absl::Status status) {
    if (status.ok()) Finish();
    done(std::move(status));
  };
  return queue_->Submit(std::move(job), admission_);
}

void LogScorer::Finish() {
  const LogTransform& log = *served_.detector->model().pipeline.log();
  for (size_t i = 0; i < complete_.size(); ++i) FillTemplates(log, complete_[i], verdicts_[i]);
  complete_.clear();
  verdicts_.clear();
  verdict_messages_.clear();
  metrics_->log_sessions().Increment(static_cast<double>(sessions_->open()) - static_cast<double>(counted_open_));
  counted_open_ = sessions_->open();
}

void ScoreLogs(const DetectorRegistry* registry, ScoringQueue* queue, Metrics* metrics,
               const v1::ScoreLogsRequest& request, v1::ScoreLogsResponse* response, const CallLimits& limits,
               const std::function<void(absl::Status)>& done) {
  const auto scorer = std::make_shared<LogScorer>(registry, queue, metrics);
  absl::Status status = scorer->Begin(request.model(), request.options());
  if (status.ok()) {
    scorer->SetLimits(ScoringQueue::Admission::kCapped, limits.deadline);
    auto exchange = std::make_unique<LogScorer::Exchange>();
    exchange->arrival = absl::Now();
    scorer->Take(request, std::move(exchange));
    status = scorer->Score({}, StreamRelease::kAll, limits.cancelled, /*scoring=*/nullptr,
                           [scorer, response, done](absl::Status scored) {
                             if (scored.ok()) {
                               FillProvenance(scorer->served(), response->mutable_provenance());
                               // The request's reply, and that of its end.
                               for (const auto& exchange : scorer->TakeReplies()) {
                                 response->MergeFrom(exchange->response);
                               }
                             }
                             done(std::move(scored));
                           });
  }
  if (!status.ok()) done(status);
}

}  // namespace astray
