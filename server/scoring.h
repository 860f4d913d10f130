// From a ScoreRequest to a ScoreResponse, whatever the transport.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "astray/v1/service.pb.h"
#include "engine/detect/detector.h"
#include "server/detector_registry.h"
#include "server/scoring_queue.h"

namespace astray {

// InvalidArgument where `values` are no rows of the detector: none at all, a wrong number, an infinity. Names the row
// (from 0) and the feature: "values: row 3, feature 'flow': expected a finite number, or NaN for missing, got inf".
absl::Status CheckValues(const Detector& detector, std::span<const float> values);

// Counts the rows' values, how many of them are missing, and how they are spread.
void RecordValues(std::span<const float> values, const ServedDetector& served, absl::Time now);
// Verdicts [first, first + count) of `result`.
void RecordVerdicts(const ScoreResult& result, size_t first, size_t count, const ServedDetector& served,
                    absl::Time now);

void FillProvenance(const ServedDetector& served, v1::Provenance* provenance);

// Writes verdicts [first, first + count) of `result` to `out`, which has `count` fresh messages.
void FillVerdicts(const Detector& detector, const ScoreResult& result, size_t first, size_t count,
                  std::span<v1::Verdict* const> out);

// Offers verdicts [first, first + count) of `result`, which are [job_first, job_first + count) of a job over `rows`.
// The shadow may be null.
void OfferToShadow(Shadow* shadow, std::span<const float> rows, absl::string_view segment, size_t job_first,
                   const ScoreResult& result, size_t first, size_t count);

// The detector that a call asks for, and its options. Errors are those of DetectionService.Score.
absl::StatusOr<ServedDetector> FindToScore(const DetectorRegistry& registry, const v1::ModelRef& model,
                                           const v1::ScoreOptions& asked, ScoreOptions* options);

// Which of what waits in a stream goes on.
enum class StreamRelease : uint8_t { kWaitedForLong, kAll };

// Takes the calibration that is live now, as long as the same artifact is served.
void FollowCalibration(const DetectorRegistry& registry, ServedDetector* served);

// Where a call's deadline and its client's patience are.
struct CallLimits {
  absl::Time deadline = absl::InfiniteFuture();
  std::shared_ptr<const std::atomic<bool>> cancelled;  // may be null
};

// What a ScoreRequest asks for, checked; its rows are the request's.
struct CheckedRequest {
  std::span<const float> rows;
  ScoreOptions options;
  uint32_t segment = 0;
  size_t verdicts = 0;  // of full windows
};
// `most_rows` of a request. Errors are those of DetectionService.Score (service.proto), but for the model's.
absl::StatusOr<CheckedRequest> CheckScoreRequest(const ServedDetector& served, size_t most_rows,
                                                 const v1::ScoreRequest& request);

// All of a reply but its provenance and the verdicts of full windows, which are made fresh.
void BeginReply(const ServedDetector& served, const v1::ScoreRequest& request, v1::ScoreResponse* response);
// Verdicts [first, first + count) of `result` are the request's full windows [job_first, job_first + count).
void FillReply(const ServedDetector& served, const v1::ScoreRequest& request, size_t job_first,
               const ScoreResult& result, size_t first, size_t count, v1::ScoreResponse* response);
// Once it has all verdicts: what is said of them together.
void FinishReply(const v1::ScoreRequest& request, v1::ScoreResponse* response);

// Scores a large request through the queue, in tiles. `request` and `response` must live until `done`, which is called
// once, on another thread; `response` is complete only where the status is OK. Unless OK is returned, `done` is not
// called.
absl::Status SubmitScore(const ServedDetector& served, const CheckedRequest& checked, const v1::ScoreRequest& request,
                         const CallLimits& limits, ScoringQueue* queue, v1::ScoreResponse* response,
                         std::function<void(absl::Status)> done);

}  // namespace astray
