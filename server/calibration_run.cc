#include "server/calibration_run.h"

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

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
  chunk_.assign(rows->size() / detector_->features(), Verdict());
  ScoringJob job;
  job.detector = detector_;
  job.rows = *rows;
  job.options.top_contributors = 0;
  job.segment = detector_->calibration().SegmentIndex(request.rows().segment());
  job.cancelled = std::move(cancelled);
  job.consume = [this](size_t job_first, const ScoreResult& result, size_t first, size_t count) {
    std::copy_n(result.verdicts.begin() + static_cast<std::ptrdiff_t>(first), count,
                chunk_.begin() + static_cast<std::ptrdiff_t>(job_first));
  };
  job.done = [this, done, rows = *rows, &request](absl::Status scored) {
    if (scored.ok()) scored = TakeChunk(rows, request.rows().entity(), request.rows().segment());
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
  chunk_ = std::move(result.verdicts);
  return TakeChunk(session_rows_, "", "");
}

BlockPicker& CalibrationRun::PickerOf(const std::string& entity) {
  return pickers_.try_emplace(header_.block_rows() > 1 ? entity : "", header_.block_rows(), pickers_.size())
      .first->second;
}

absl::Status CalibrationRun::TakeChunk(std::span<const float> rows, const std::string& entity,
                                       const std::string& segment) {
  const size_t features = detector_->features(), window = detector_->window();
  BlockPicker& picker = PickerOf(entity);
  feedback_->LeaveOutConfirmed(entity, rows, chunk_);
  for (size_t i = 0; i + window <= chunk_.size(); ++i) {
    const Verdict& verdict = chunk_[i];
    const bool taken = picker.TakesNext();
    if (verdict.state != Verdict::State::kScored) continue;
    ++vectors_;
    flagged_ += verdict.anomalous ? 1 : 0;
    Remember(verdict.error, segment, verdict.missing_level);
    if (!taken) continue;
    trace_.Add(entity, verdict.error);
    if (verdict.missing_level == 0) probe_->Offer(rows.subspan(i * features, window * features));
    RETURN_IF_ERROR(samples_.Add(verdict.error, segment, verdict.missing_level));
  }
  return absl::OkStatus();
}

void CalibrationRun::Remember(float error, const std::string& segment, uint8_t missing_level) {
  // Vitter's algorithm R (1985).
  size_t place = remembered_.size();
  if (place < kMaxRemembered) {
    remembered_.emplace_back();
  } else {
    place = random_.UniformInt(vectors_);
    if (place >= kMaxRemembered) return;
  }
  const auto name = segment_names_.try_emplace(segment, static_cast<uint32_t>(segment_names_.size())).first;
  remembered_[place] = {.error = error, .segment = name->second, .missing_level = missing_level};
}

double CalibrationRun::FlaggedRatio(const Calibration& calibration) const {
  std::vector<uint32_t> segments(segment_names_.size());
  for (const auto& [name, place] : segment_names_) segments[place] = calibration.SegmentIndex(name);
  const auto flagged = std::ranges::count_if(remembered_, [&](const RememberedVector& vector) {
    return vector.error > calibration.Judge(vector.error, segments[vector.segment], vector.missing_level).threshold;
  });
  return static_cast<double>(flagged) / static_cast<double>(remembered_.size());
}

absl::Status CalibrationRun::Begin(const v1::CalibrateHeader& header) {
  if (begun_) return absl::InvalidArgumentError("part: expected rows or lines after the header, got another header");
  if (header.has_false_positive_rate() && !(header.false_positive_rate() > 0 && header.false_positive_rate() < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("header.false_positive_rate: expected a number in (0, 1), got ", header.false_positive_rate()));
  }
  if (header.block_rows() > BlockPicker::kMaxBlockRows) {
    return absl::InvalidArgumentError(absl::StrCat("header.block_rows: expected at most ", BlockPicker::kMaxBlockRows,
                                                   ", got ", header.block_rows()));
  }
  if (header.mode() != v1::CalibrateHeader::REPLACE && header.mode() != v1::CalibrateHeader::MERGE) {
    return absl::InvalidArgumentError(absl::StrCat("header.mode: expected REPLACE or MERGE, got ", header.mode()));
  }
  ASSIGN_OR_RETURN(const ServedDetector served, registry_->Find(header.model()));
  detector_ = served.detector;
  probe_.emplace(detector_.get());
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
  if (const absl::Status status = CalibrationSamples::CheckSegment(rows.segment()); !status.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("rows.", status.message()));
  }
  return CountRows(Values(rows).size() / detector_->features());
}

absl::StatusOr<uint64_t> CalibrationRun::AddFalseAlarms(std::vector<uint64_t>* merged) {
  ASSIGN_OR_RETURN(const std::vector<CalibrationFeedback::FalseAlarm> kept, feedback_->FalseAlarms());
  std::vector<uint64_t> still_there;
  for (const CalibrationFeedback::FalseAlarm& alarm : kept) {
    if (std::ranges::binary_search(*merged, alarm.window)) {
      still_there.push_back(alarm.window);
      continue;
    }
    // As in scoring, a segment that the calibration has no room for is judged by all rows.
    const absl::string_view segment = samples_.HasRoomFor(alarm.segment) ? absl::string_view(alarm.segment) : "";
    RETURN_IF_ERROR(samples_.Add(alarm.error, segment, alarm.missing_level));
    samples_.false_alarms.push_back(alarm.window);
  }
  std::ranges::sort(samples_.false_alarms);
  std::ranges::sort(still_there);
  *merged = std::move(still_there);
  return samples_.false_alarms.size();
}

absl::Status CalibrationRun::Finish(v1::CalibrateResponse* response) {
  if (!begun_) return absl::InvalidArgumentError("part: expected a header, got an empty stream");
  RETURN_IF_ERROR(CalibrateOpenSessions());
  const Detector& detector = *detector_;
  CalibrationSamples merged;
  if (header_.mode() == v1::CalibrateHeader::MERGE) merged = detector.calibration().ToSamples();
  if (header_.include_false_alarms()) {
    ASSIGN_OR_RETURN(const uint64_t added, AddFalseAlarms(&merged.false_alarms));
    response->set_false_alarms_added(added);
  }
  response->set_confirmed_left_out(feedback_->left_out());
  const Calibration& before = detector.calibration();
  const double rate = header_.has_false_positive_rate() ? header_.false_positive_rate() : before.false_positive_rate();
  if (samples_.all.samples() == 0) {
    return absl::FailedPreconditionError(absl::StrCat("rows: expected at least one window of ", detector.window(),
                                                      " rows with a value in it, got ", rows_, " rows"));
  }
  response->set_flagged_ratio_before(static_cast<double>(flagged_) / static_cast<double>(vectors_));
  response->set_previous_threshold(before.threshold());
  RETURN_IF_ERROR(probe_->Fill(rate, &samples_));
  samples_.autocorrelation_time = trace_.Time();
  samples_.block_rows = header_.block_rows() > 1 ? header_.block_rows() : 0;
  if (header_.mode() == v1::CalibrateHeader::MERGE) RETURN_IF_ERROR(samples_.Merge(merged));
  ASSIGN_OR_RETURN(const std::shared_ptr<const Calibration> calibration,
                   registry_->AddCalibration(detector, std::move(samples_), rate, header_.promote()));
  response->set_flagged_ratio_after(FlaggedRatio(*calibration));
  response->set_model(detector.model().name);
  response->set_version(detector.model().version);
  *response->mutable_calibration() = Summarize(*calibration, header_.promote());
  response->set_promoted(header_.promote());
  return absl::OkStatus();
}

}  // namespace astray
