#include "server/calibrate_reactor.h"

namespace astray {

CalibrateReactor::CalibrateReactor(DetectionService* service, grpc::CallbackServerContext* context,
                                   v1::CalibrateResponse* response)
    : service_(service),
      context_(context),
      response_(response),
      call_(service->parts().gate, service->parts().metrics, Method::kCalibrate),
      run_(service->parts().registry, service->parts().queue, service->parts().feedback,
           service->parts().max_calibration_rows) {}

CalibrateReactor::~CalibrateReactor() {
  if (counted_) service_->RemoveCalibration();
}

void CalibrateReactor::Start() {
  absl::Status status = call_.Admitted();
  if (status.ok()) {
    status = service_->AddCalibration();
    counted_ = status.ok();
  }
  if (status.ok()) {
    StartRead(&request_);
  } else {
    Complete(status);
  }
}

void CalibrateReactor::OnReadDone(bool ok) {
  static_cast<void>(added_.load(std::memory_order_acquire));
  if (ok && request_.has_header()) {
    service_->parts().executor->Add([this] { Add(); });  // reads files
    return;
  }
  if (ok) return Add();
  service_->parts().executor->Add([this] {
    // A stream also ends when its client dies; what came so far is then not what the client meant.
    if (context_->IsCancelled() || call_.cancelled()->load()) {
      Complete(absl::CancelledError("cancelled before the last row"));
    } else {
      Complete(run_.Finish(response_));
    }
  });
}

void CalibrateReactor::Add() {
  run_.Add(request_, call_.cancelled(), [this](const absl::Status& status) {
    added_.fetch_add(1, std::memory_order_release);
    if (status.ok()) {
      StartRead(&request_);
    } else {
      Complete(status);
    }
  });
}

void CalibrateReactor::Complete(const absl::Status& status) {
  call_.RecordDuration();
  Finish(call_.End(status));
}

}  // namespace astray
