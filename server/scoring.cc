#include "server/scoring.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/base/status_macros.h"
#include "engine/detect/verdict_message.h"

namespace astray {
namespace {

constexpr size_t kSha256PrefixDigits = 12;

std::string ModelText(const Detector& detector) {
  return absl::StrCat("model '", detector.model().name, "' version ", detector.model().version);
}

absl::Status CheckRowCount(const Detector& detector, size_t rows, size_t most_rows) {
  if (rows < detector.window()) {
    return absl::InvalidArgumentError(absl::StrCat(ModelText(detector), " scores windows of ", detector.window(),
                                                   " rows: values: expected at least ", detector.window(),
                                                   " rows, got ", rows));
  }
  if (rows > most_rows) {
    return absl::InvalidArgumentError(
        absl::StrCat("values: expected at most ", most_rows, " rows in one request, got ", rows));
  }
  return absl::OkStatus();
}

// What a call asks of this detector.
absl::StatusOr<ScoreOptions> CheckOptions(const Detector& detector, const v1::ScoreOptions& asked) {
  ASSIGN_OR_RETURN(const ScoreOptions options, ReadScoreOptions(asked));
  if (options.score_function) RETURN_IF_ERROR(detector.NoiseLevel().status());
  return options;
}

}  // namespace

absl::Status CheckValues(const Detector& detector, std::span<const float> values) {
  if (values.empty() || values.size() % detector.features() != 0) {
    return absl::InvalidArgumentError(absl::StrCat("values: expected a multiple of ", detector.features(),
                                                   " (the features of ", ModelText(detector), "), got ", values.size(),
                                                   " numbers"));
  }
  absl::Status status = detector.model().pipeline.CheckRows(values);
  if (status.ok()) return status;
  return absl::InvalidArgumentError(absl::StrCat("values: ", status.message()));
}

void RecordValues(std::span<const float> values, const ServedDetector& served, absl::Time now) {
  const auto missing = std::count_if(values.begin(), values.end(), [](float value) { return std::isnan(value); });
  served.metrics->RecordValues(values.size(), static_cast<size_t>(missing));
  served.drift->ObserveRows(values, now);
}

void RecordVerdicts(const ScoreResult& result, size_t first, size_t count, const ServedDetector& served,
                    absl::Time now) {
  served.metrics->RecordVerdicts(result, first, count);
  served.drift->ObserveVerdicts(std::span(result.verdicts).subspan(first, count), now);
}

void FillProvenance(const ServedDetector& served, v1::Provenance* provenance) {
  const Detector& detector = *served.detector;
  provenance->set_model(detector.model().name);
  provenance->set_version(detector.model().version);
  provenance->mutable_artifact_sha256()->assign(detector.model().artifact_sha256, 0, kSha256PrefixDigits);
  provenance->set_calibration_epoch(detector.calibration().epoch());
  provenance->set_threshold(detector.calibration().threshold());
  provenance->set_change(served.change);
}

void FillVerdicts(const Detector& detector, const ScoreResult& result, size_t first, size_t count,
                  std::span<v1::Verdict* const> out) {
  for (size_t i = 0; i < count; ++i) FillVerdict(detector, result, first + i, out[i]);
}

void OfferToShadow(Shadow* shadow, std::span<const float> rows, absl::string_view segment, size_t job_first,
                   const ScoreResult& result, size_t first, size_t count) {
  if (shadow == nullptr) return;
  const Detector& live = *shadow->live();
  shadow->Offer(rows.subspan(job_first * live.features(), (count + live.window() - 1) * live.features()), segment,
                result, first, count);
}

absl::StatusOr<ServedDetector> FindToScore(const DetectorRegistry& registry, const v1::ModelRef& model,
                                           const v1::ScoreOptions& asked, ScoreOptions* options) {
  ASSIGN_OR_RETURN(ServedDetector served, registry.Find(model));
  ASSIGN_OR_RETURN(*options, CheckOptions(*served.detector, asked));
  return served;
}

void FollowCalibration(const DetectorRegistry& registry, ServedDetector* served) {
  const DetectorModel& model = served->detector->model();
  v1::ModelRef ref;
  ref.set_name(model.name);
  ref.set_version(model.version);
  absl::StatusOr<ServedDetector> now = registry.Find(ref);
  if (now.ok() && now->detector->model().artifact_sha256 == model.artifact_sha256) *served = *std::move(now);
}

absl::StatusOr<CheckedRequest> CheckScoreRequest(const ServedDetector& served, size_t most_rows,
                                                 const v1::ScoreRequest& request) {
  const Detector& detector = *served.detector;
  CheckedRequest checked;
  ASSIGN_OR_RETURN(checked.options, CheckOptions(detector, request.options()));
  checked.rows = {request.values().data(), static_cast<size_t>(request.values_size())};
  RETURN_IF_ERROR(CheckValues(detector, checked.rows));
  const size_t rows = checked.rows.size() / detector.features();
  RETURN_IF_ERROR(CheckRowCount(detector, rows, most_rows));
  RETURN_IF_ERROR(CalibrationSamples::CheckSegment(request.segment()));
  checked.segment = detector.calibration().SegmentIndex(request.segment());
  checked.verdicts = rows - detector.window() + 1;
  return checked;
}

void BeginReply(const ServedDetector& served, const v1::ScoreRequest& request, v1::ScoreResponse* response) {
  const Detector& detector = *served.detector;
  response->set_id(request.id());
  const int rows = static_cast<int>(static_cast<size_t>(request.values_size()) / detector.features());
  response->mutable_verdicts()->Reserve(rows);
  for (int i = 0; i < rows; ++i) response->add_verdicts();
  for (int i = 0; i + 1 < static_cast<int>(detector.window()); ++i) {
    FillUnscored(v1::Verdict::WARMING_UP, response->mutable_verdicts(i));
  }
}

void FillReply(const ServedDetector& served, const v1::ScoreRequest& request, size_t job_first,
               const ScoreResult& result, size_t first, size_t count, v1::ScoreResponse* response) {
  const size_t place = served.detector->window() - 1 + job_first;
  for (size_t i = 0; i < count; ++i) {
    FillVerdict(*served.detector, result, first + i, response->mutable_verdicts(static_cast<int>(place + i)));
  }
  const std::span<const float> rows = {request.values().data(), static_cast<size_t>(request.values_size())};
  OfferToShadow(served.shadow.get(), rows, request.segment(), job_first, result, first, count);
}

void FinishReply(const v1::ScoreRequest& request, v1::ScoreResponse* response) {
  if (!request.options().has_false_discovery_rate()) return;
  SelectDiscoveries(request.options().false_discovery_rate(), response->mutable_verdicts());
}

absl::Status SubmitScore(const ServedDetector& served, const CheckedRequest& checked, const v1::ScoreRequest& request,
                         const CallLimits& limits, ScoringQueue* queue, v1::ScoreResponse* response,
                         std::function<void(absl::Status)> done) {
  RecordValues(checked.rows, served, absl::Now());
  FillProvenance(served, response->mutable_provenance());
  BeginReply(served, request, response);
  ScoringJob job;
  job.detector = served.detector;
  job.rows = checked.rows;
  job.options = checked.options;
  job.segment = checked.segment;
  job.deadline = limits.deadline;
  job.cancelled = limits.cancelled;
  job.consume = [served, &request, response](size_t job_first, const ScoreResult& result, size_t first, size_t count) {
    FillReply(served, request, job_first, result, first, count, response);
    RecordVerdicts(result, first, count, served, absl::Now());
  };
  job.done = [&request, response, done = std::move(done)](absl::Status status) {
    if (status.ok()) FinishReply(request, response);
    done(std::move(status));
  };
  return queue->Submit(std::move(job), ScoringQueue::Admission::kCapped);
}

}  // namespace astray
