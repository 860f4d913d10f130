#include "server/detection_service.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "server/calibrate_call.h"
#include "server/feedback.h"
#include "server/log_scorer.h"

namespace astray {

void DetectionService::PostRare(Lane* lane) {
  unary_.Post<v1::ScoreLogsRequest, v1::ScoreLogsResponse>(
      lane, Method::kScoreLogs, this, &DetectionService::RequestScoreLogs, [this](auto* slot, const UnaryDone& done) {
        parts_.reader->Add([this, slot, done] {
          // The flag is the slot's, which outlives the job.
          const CallLimits limits = {.deadline = slot->deadline(),
                                     .cancelled = {std::shared_ptr<const void>(), &slot->cancelled()}};
          astray::ScoreLogs(parts_.registry, parts_.queue, parts_.metrics, slot->request(), slot->response(), limits,
                            done);
        });
      });
  unary_.PostOn<v1::FeedbackRequest, v1::FeedbackResponse>(
      parts_.executor, lane, Method::kFeedback, this, &DetectionService::RequestFeedback,
      [this](const auto& request, auto* response) {
        return KeepFeedback(*parts_.registry, parts_.feedback, request, response);
      });
  CalibrateCall::Post(this, lane);
}

void DetectionService::EndStreams() {
  absl::MutexLock lock(&mutex_);
  ending_ = true;
  for (OpenStream* stream : streams_) stream->End();
}

absl::Status DetectionService::AddStream(OpenStream* stream) {
  absl::MutexLock lock(&mutex_);
  if (ending_) return absl::UnavailableError("the server is shutting down");
  if (streams_.size() >= kMaxStreams) {
    return absl::ResourceExhaustedError(absl::StrCat(kMaxStreams, " streams are open already; retry later"));
  }
  streams_.insert(stream);
  parts_.metrics->streams_active().Set(static_cast<double>(streams_.size()));
  return absl::OkStatus();
}

void DetectionService::RemoveStream(OpenStream* stream) {
  absl::MutexLock lock(&mutex_);
  streams_.erase(stream);
  parts_.metrics->streams_active().Set(static_cast<double>(streams_.size()));
}

absl::Status DetectionService::AddCalibration() {
  absl::MutexLock lock(&mutex_);
  if (calibrations_ >= kMaxCalibrations) {
    return absl::ResourceExhaustedError(absl::StrCat(kMaxCalibrations, " calibrations are running; retry later"));
  }
  ++calibrations_;
  return absl::OkStatus();
}

void DetectionService::RemoveCalibration() {
  absl::MutexLock lock(&mutex_);
  --calibrations_;
}

}  // namespace astray
