#include "server/feedback.h"

#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/base/sha256.h"
#include "engine/base/status_macros.h"
#include "engine/detect/session_verdict.h"
#include "engine/detect/verdict_message.h"
#include "server/feedback_log.h"
#include "server/scoring.h"

namespace astray {
namespace {

// The sessions that the record's lines make, all complete.
std::vector<LogSession> Sessions(const LogTransform& log, const v1::FeedbackRecord& record) {
  LogSessions sessions(&log);
  std::vector<LogSession> closed;
  for (const std::string& line : record.lines()) sessions.Add(line, &closed);
  sessions.Flush(&closed);
  return closed;
}

absl::Status CheckRequest(const Detector& detector, const v1::FeedbackRequest& request) {
  const DetectorModel& model = detector.model();
  const bool log = model.pipeline.log() != nullptr;
  if (log ? !request.values().empty() : !request.lines().empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("model '", model.name, "' version ", model.version,
                     log ? " was trained on a log: it takes lines" : " was not trained on a log: it takes values"));
  }
  if (log) return absl::OkStatus();
  const std::span<const float> values(request.values().data(), static_cast<size_t>(request.values_size()));
  RETURN_IF_ERROR(CheckValues(detector, values));
  if (values.size() >= detector.window() * detector.features()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("values: expected the ", detector.window(),
                                                 " rows of a window or more, the last of them judged, got ",
                                                 values.size() / detector.features()));
}

v1::FeedbackRecord MakeRecord(const Detector& detector, const v1::FeedbackRequest& request) {
  v1::FeedbackRecord record;
  record.set_kind(static_cast<v1::FeedbackRecord::Kind>(request.kind()));
  record.set_features_sha256(FeaturesSha256(detector));
  if (request.lines().empty()) record.set_features(static_cast<uint32_t>(detector.features()));
  *record.mutable_values() = request.values();
  *record.mutable_lines() = request.lines();
  record.set_id(request.id());
  record.set_entity(request.entity());
  record.set_segment(request.segment());
  record.set_note(request.note());
  record.set_time_unix_seconds(request.time_unix_seconds());
  record.set_received_unix_seconds(absl::ToUnixSeconds(absl::Now()));
  record.set_version(detector.model().version);
  return record;
}

}  // namespace

std::string FeaturesSha256(const Detector& detector) {
  if (detector.model().pipeline.log() != nullptr) return Sha256("log lines");
  std::string names;
  for (const std::string& name : detector.model().pipeline.feature_names()) absl::StrAppend(&names, name, "\n");
  return Sha256(names);
}

std::optional<std::vector<float>> FeedbackWindow(const Detector& detector, const v1::FeedbackRecord& record) {
  if (record.features_sha256() != FeaturesSha256(detector)) return std::nullopt;
  if (const LogTransform* log = detector.model().pipeline.log(); log != nullptr) {
    const std::vector<LogSession> sessions = Sessions(*log, record);
    if (sessions.size() != 1) return std::nullopt;
    std::vector<float> row;
    FillSessionRows(*log, sessions, &row);
    return row;
  }
  const size_t size = detector.window() * detector.features();
  const auto values = static_cast<size_t>(record.values_size());
  if (record.features() != detector.features() || values < size) return std::nullopt;
  return std::vector<float>(record.values().end() - static_cast<std::ptrdiff_t>(size), record.values().end());
}

absl::Status KeepFeedback(const DetectorRegistry& registry, FeedbackStore* store, const v1::FeedbackRequest& request,
                          v1::FeedbackResponse* response) {
  ASSIGN_OR_RETURN(const ServedDetector served, registry.Find(request.model()));
  const Detector& detector = *served.detector;
  RETURN_IF_ERROR(CheckRequest(detector, request));
  const v1::FeedbackRecord record = MakeRecord(detector, request);
  RETURN_IF_ERROR(CheckFeedback(record));
  const std::optional<std::vector<float>> window = FeedbackWindow(detector, record);
  if (!window) {
    return absl::InvalidArgumentError(absl::StrCat("lines: expected those of one session, got ",
                                                   Sessions(*detector.model().pipeline.log(), record).size(),
                                                   " sessions"));
  }
  ScoreResult result;
  const uint32_t segment = detector.calibration().SegmentIndex(record.segment());
  RETURN_IF_ERROR(detector.Score(*window, {}, &result, std::span(&segment, 1)));
  ASSIGN_OR_RETURN(const FeedbackStore::Added added, store->Add(request.model().name(), record));
  if (!added.known) {
    if (record.kind() == v1::FeedbackRecord::FALSE_ALARM) {
      served.metrics->CountFalseAlarm();
    } else {
      served.metrics->CountConfirmedAnomaly();
    }
  }
  FillProvenance(served, response->mutable_provenance());
  FillVerdict(detector, result, 0, response->mutable_verdict());
  response->set_id(request.id());
  *response->mutable_kept() = added.kept;
  response->set_known(added.known);
  return absl::OkStatus();
}

}  // namespace astray
