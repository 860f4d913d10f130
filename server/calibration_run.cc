#include "server/calibration_run.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/detect/entity_streams.h"
#include "engine/detect/session_verdict.h"

namespace astray {
namespace {

std::span<const float> Values(const v1::CalibrateRows& rows) {
  return {rows.values().data(), static_cast<size_t>(rows.values_size())};
}

}  // namespace

void CalibrationRun::Add(const v1::CalibrateRequest& request, std::shared_ptr<const std::atomic<bool>> cancelled,
                         const std::function<void(absl::Status)>& done) {
  absl::StatusOr<std::span<const float>> rows = std::span<const float>();
  switch (request.part_case()) {
    case v1::CalibrateRequest::kHeader:
      done(Begin(request.header()));
      return;
    case v1::CalibrateRequest::kRows:
      rows = WithHistory(request.rows());
      break;
    case v1::CalibrateRequest::kLines:
      if (const absl::Status status = AddLines(request.lines()); !status.ok()) {
        rows = status;
      } else {
        rows = session_rows_;
      }
      break;
    case v1::CalibrateRequest::PART_NOT_SET:
      rows = absl::InvalidArgumentError("part: expected a header, rows or lines, got none of them");
      break;
  }
  if (!rows.ok()) {
    done(rows.status());
    return;
  }
  chunk_.assign(rows->size() / detector_->features(), std::numeric_limits<float>::quiet_NaN());
  ScoringJob job;
  job.detector = detector_;
  job.rows = *rows;
  job.options.top_contributors = 0;
  job.cancelled = std::move(cancelled);
  job.consume = [this](size_t job_first, const ScoreResult& result, size_t first, size_t count) {
    Keep(job_first, result, first, count);
  };
  job.done = [this, done, rows = *rows, entity = request.rows().entity()](absl::Status scored) {
    feedback_->LeaveOutConfirmed(entity, rows, chunk_);
    KeepChunk();
    done(std::move(scored));
  };
  const absl::Status status = queue_->Submit(std::move(job), ScoringQueue::Admission::kAlways);
  if (!status.ok()) done(status);
}

absl::StatusOr<std::span<const float>> CalibrationRun::WithHistory(const v1::CalibrateRows& rows) {
  RETURN_IF_ERROR(CheckRows(rows));
  const Detector& detector = *detector_;
  const auto history = histories_.try_emplace(rows.entity(), detector.features(), detector.window()).first;
  if (histories_.size() > EntityStreams::kMaxEntities) {
    return absl::InvalidArgumentError(
        absl::StrCat("rows.entity: expected at most ", EntityStreams::kMaxEntities, " in one calibration, got more"));
  }
  return history->second.Extend(Values(rows));
}

absl::Status CalibrationRun::CountRows(size_t rows) {
  rows_ += rows;
  if (rows_ <= max_rows_) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("rows: expected at most ", max_rows_, " in one calibration (max_calibration_rows), got more"));
}

absl::Status CalibrationRun::AddLines(const v1::CalibrateLines& lines) {
  if (!begun_) return absl::InvalidArgumentError("part: expected the header first, got lines");
  const DetectorModel& model = detector_->model();
  const LogTransform* log = model.pipeline.log();
  if (log == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("model '", model.name, "' version ", model.version, " was not trained on a log: it takes rows"));
  }
  if (!sessions_) sessions_.emplace(log);
  for (const std::string& line : lines.lines()) {
    sessions_->Add(line, &closed_);
  }
  FillSessionRows(*log, closed_, &session_rows_);
  RETURN_IF_ERROR(CountRows(closed_.size()));
  closed_.clear();
  return absl::OkStatus();
}

absl::Status CalibrationRun::CalibrateOpenSessions() {
  if (!sessions_) return absl::OkStatus();
  sessions_->Flush(&closed_);
  RETURN_IF_ERROR(CountRows(closed_.size()));
  const Detector& detector = *detector_;
  FillSessionRows(*detector.model().pipeline.log(), closed_, &session_rows_);
  closed_.clear();
  ScoreResult result;
  RETURN_IF_ERROR(detector.Score(session_rows_, {.top_contributors = 0}, &result));
  chunk_.assign(result.verdicts.size(), std::numeric_limits<float>::quiet_NaN());
  Keep(0, result, 0, result.verdicts.size());
  feedback_->LeaveOutConfirmed("", session_rows_, chunk_);
  KeepChunk();
  return absl::OkStatus();
}

absl::Status CalibrationRun::Begin(const v1::CalibrateHeader& header) {
  if (begun_) return absl::InvalidArgumentError("part: expected rows or lines after the header, got another header");
  if (header.has_false_positive_rate() && !(header.false_positive_rate() > 0 && header.false_positive_rate() < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("header.false_positive_rate: expected a number in (0, 1), got ", header.false_positive_rate()));
  }
  ASSIGN_OR_RETURN(const ServedDetector served, registry_->Find(header.model()));
  detector_ = served.detector;
  ASSIGN_OR_RETURN(const std::vector<v1::FeedbackRecord> records, feedback_store_->Read(header.model().name()));
  feedback_.emplace(*detector_, records);
  header_ = header;
  begun_ = true;
  return absl::OkStatus();
}

absl::Status CalibrationRun::CheckRows(const v1::CalibrateRows& rows) {
  if (!begun_) return absl::InvalidArgumentError("part: expected the header first, got rows");
  if (const absl::Status status = CheckValues(*detector_, Values(rows)); !status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("rows.", status.message(), rows_ == 0 ? "" : absl::StrCat(" (after ", rows_, " good rows)")));
  }
  return CountRows(Values(rows).size() / detector_->features());
}

void CalibrationRun::KeepChunk() {
  std::copy_if(chunk_.begin(), chunk_.end(), std::back_inserter(errors_),
               [](float error) { return !std::isnan(error); });
}

void CalibrationRun::Keep(size_t job_first, const ScoreResult& result, size_t first, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const Verdict& verdict = result.verdicts[first + i];
    if (verdict.state == Verdict::State::kScored) chunk_[job_first + i] = verdict.error;
  }
}

absl::Status CalibrationRun::Finish(v1::CalibrateResponse* response) {
  if (!begun_) return absl::InvalidArgumentError("part: expected a header, got an empty stream");
  RETURN_IF_ERROR(CalibrateOpenSessions());
  const Detector& detector = *detector_;
  if (header_.include_false_alarms()) {
    ASSIGN_OR_RETURN(const std::vector<float> false_alarms, feedback_->FalseAlarmErrors());
    errors_.insert(errors_.end(), false_alarms.begin(), false_alarms.end());
    response->set_false_alarms_added(false_alarms.size());
  }
  response->set_confirmed_left_out(feedback_->left_out());
  const Calibration& before = detector.calibration();
  const double rate = header_.has_false_positive_rate() ? header_.false_positive_rate() : before.false_positive_rate();
  if (errors_.empty()) {
    return absl::FailedPreconditionError(absl::StrCat("rows: expected at least one window of ", detector.window(),
                                                      " rows with a value in it, got ", rows_, " rows"));
  }
  const double threshold = before.threshold();
  const auto flagged = std::count_if(errors_.begin(), errors_.end(), [&](float error) { return error > threshold; });
  response->set_flagged_ratio_before(static_cast<double>(flagged) / static_cast<double>(errors_.size()));
  response->set_previous_threshold(threshold);
  ASSIGN_OR_RETURN(const std::shared_ptr<const Calibration> calibration,
                   registry_->AddCalibration(detector, std::move(errors_), rate, header_.promote()));
  response->set_model(detector.model().name);
  response->set_version(detector.model().version);
  *response->mutable_calibration() = Summarize(*calibration, header_.promote());
  response->set_promoted(header_.promote());
  return absl::OkStatus();
}

}  // namespace astray
