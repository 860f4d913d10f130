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

absl::StatusOr<ScoringJob> MakeJob(const DetectorRegistry& registry, size_t most_rows, const v1::ScoreRequest& request,
                                   v1::ScoreResponse* response) {
  ScoringJob job;
  ASSIGN_OR_RETURN(ServedDetector served, FindToScore(registry, request.model(), request.options(), &job.options));
  job.rows = {request.values().data(), static_cast<size_t>(request.values_size())};
  const Detector& detector = *served.detector;
  RETURN_IF_ERROR(CheckValues(detector, job.rows));
  const size_t rows = job.rows.size() / detector.features();
  RETURN_IF_ERROR(CheckRowCount(detector, rows, most_rows));
  RETURN_IF_ERROR(CalibrationSamples::CheckSegment(request.segment()));
  job.segment = detector.calibration().SegmentIndex(request.segment());
  RecordValues(job.rows, served);

  FillProvenance(served, response->mutable_provenance());
  response->set_id(request.id());
  const size_t warming_up = detector.window() - 1;
  std::vector<v1::Verdict*> verdicts(rows);
  response->mutable_verdicts()->Reserve(static_cast<int>(rows));
  for (v1::Verdict*& verdict : verdicts) verdict = response->add_verdicts();
  for (size_t i = 0; i < warming_up; ++i) FillUnscored(v1::Verdict::WARMING_UP, verdicts[i]);
  job.detector = served.detector;
  job.consume = [warming_up, verdicts = std::move(verdicts), served = std::move(served), values = job.rows,
                 segment = absl::string_view(request.segment())](size_t job_first, const ScoreResult& result,
                                                                 size_t first, size_t count) {
    FillVerdicts(*served.detector, result, first, count, std::span(verdicts).subspan(warming_up + job_first, count));
    RecordVerdicts(result, first, count, served);
    OfferToShadow(served.shadow.get(), values, segment, job_first, result, first, count);
  };
  return job;
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

void RecordValues(std::span<const float> values, const ServedDetector& served) {
  const auto missing = std::count_if(values.begin(), values.end(), [](float value) { return std::isnan(value); });
  served.metrics->RecordValues(values.size(), static_cast<size_t>(missing));
  served.drift->ObserveRows(values, absl::Now());
}

void RecordVerdicts(const ScoreResult& result, size_t first, size_t count, const ServedDetector& served) {
  served.metrics->RecordVerdicts(result, first, count);
  served.drift->ObserveVerdicts(std::span(result.verdicts).subspan(first, count), absl::Now());
}

void FillProvenance(const ServedDetector& served, v1::Provenance* provenance) {
  const Detector& detector = *served.detector;
  provenance->set_model(detector.model().name);
  provenance->set_version(detector.model().version);
  provenance->set_artifact_sha256(detector.model().artifact_sha256.substr(0, kSha256PrefixDigits));
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
  ASSIGN_OR_RETURN(*options, ReadScoreOptions(asked));
  if (options->score_function) RETURN_IF_ERROR(served.detector->NoiseLevel().status());
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

void Score(const DetectorRegistry& registry, ScoringQueue* queue, const v1::ScoreRequest& request,
           v1::ScoreResponse* response, CallLimits limits, const std::function<void(absl::Status)>& done) {
  absl::StatusOr<ScoringJob> job = MakeJob(registry, queue->queue_rows(), request, response);
  if (!job.ok()) {
    done(job.status());
    return;
  }
  job->deadline = limits.deadline;
  job->cancelled = std::move(limits.cancelled);
  job->done = done;
  if (request.options().has_false_discovery_rate()) {
    job->done = [done, response, rate = request.options().false_discovery_rate()](const absl::Status& status) {
      if (status.ok()) SelectDiscoveries(rate, response->mutable_verdicts());
      done(status);
    };
  }
  if (const absl::Status status = queue->Submit(*std::move(job), ScoringQueue::Admission::kCapped); !status.ok()) {
    done(status);
  }
}

}  // namespace astray
