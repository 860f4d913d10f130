#include "server/detection_service.h"

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/calibrate_reactor.h"
#include "server/feedback.h"
#include "server/log_scorer.h"

namespace astray {

// start(limits, done) is called unless a drain has begun.
template <typename Start>
grpc::ServerUnaryReactor* DetectionService::StartUnary(Method method, Context* context, Start start) {
  auto* call = new UnaryCall(parts_.gate, parts_.metrics, method);
  if (const absl::Status admitted = call->Admitted(); !admitted.ok()) {
    call->Complete(admitted);
    return call;
  }
  start(CallLimits{absl::FromChrono(context->deadline()), call->cancelled()},
        [call](const absl::Status& status) { call->Complete(status); });
  return call;
}

grpc::ServerUnaryReactor* DetectionService::ScoreLogs(Context* context, const v1::ScoreLogsRequest* request,
                                                      v1::ScoreLogsResponse* response) {
  return StartUnary(Method::kScoreLogs, context, [&](const CallLimits& limits, const auto& done) {
    astray::ScoreLogs(parts_.registry, parts_.queue, parts_.metrics, *request, response, limits, done);
  });
}

grpc::ServerReadReactor<v1::CalibrateRequest>* DetectionService::Calibrate(Context* context,
                                                                           v1::CalibrateResponse* response) {
  auto* calibrate = new CalibrateReactor(this, context, response);
  calibrate->Start();
  return calibrate;
}

grpc::ServerUnaryReactor* DetectionService::Feedback(Context* /*context*/, const v1::FeedbackRequest* request,
                                                     v1::FeedbackResponse* response) {
  auto* call = new UnaryCall(parts_.gate, parts_.metrics, Method::kFeedback);
  if (const absl::Status admitted = call->Admitted(); !admitted.ok()) {
    call->Complete(admitted);
    return call;
  }
  parts_.executor->Add([this, call, request, response] {
    call->Complete(call->cancelled()->load() ? absl::CancelledError("cancelled")
                                             : KeepFeedback(*parts_.registry, parts_.feedback, *request, response));
  });
  return call;
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
