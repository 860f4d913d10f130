#include "server/calibrate_call.h"

#include <utility>

#include "engine/base/status_macros.h"

namespace astray {

CalibrateCall::CalibrateCall(DetectionService* service, Lane* lane)
    : service_(service),
      lane_(lane),
      stream_(&context_),
      run_(service->parts().registry, service->parts().queue, service->parts().feedback,
           service->parts().max_calibration_rows) {}

void CalibrateCall::Wait() {
  context_.AsyncNotifyWhenDone(&gone_tag_);
  service_->RequestCalibrate(&context_, &stream_, lane_->queue(), lane_->queue(), &arrived_tag_);
}

void CalibrateCall::Arrived(bool ok) {
  if (!ok) {  // the server ends
    delete this;
    return;
  }
  lane_->Enter();
  Open();  // for Gone
  if (!lane_->stopping()) Post(service_, lane_);
  if (const absl::Status status = Begin(); !status.ok()) {
    Complete(status);
  } else {
    ReadNext();
  }
}

absl::Status CalibrateCall::Begin() {
  call_.emplace(service_->parts().gate, service_->parts().metrics, Method::kCalibrate);
  RETURN_IF_ERROR(call_->Admitted());
  RETURN_IF_ERROR(service_->AddCalibration());
  counted_ = true;
  return absl::OkStatus();
}

void CalibrateCall::Close() {
  if (--open_ > 0) return;
  Lane* lane = lane_;
  delete this;
  lane->Leave();
}

void CalibrateCall::ReadNext() {
  Open();
  stream_.Read(&request_, &read_tag_);
}

void CalibrateCall::Read(bool ok) {
  Open();  // for Added, or Ended
  if (!ok) {
    // A stream also ends when its client dies; what came so far is then not what the client meant. Sending fails then,
    // whether or not Gone has come.
    stream_.SendInitialMetadata(&ended_tag_);
  } else if (request_.has_header()) {
    service_->parts().executor->Add([this] { Add(); });
  } else if (request_.has_lines()) {
    service_->parts().reader->Add([this] { Add(); });
  } else {
    Add();
  }
  Close();
}

void CalibrateCall::Add() {
  run_.Add(request_, call_->cancelled(), [this](absl::Status status) {
    status_ = std::move(status);
    lane_->Send(&added_tag_);
  });
}

void CalibrateCall::Added(bool /*ok*/) {
  if (status_.ok()) {
    ReadNext();
  } else {
    Complete(status_);
  }
  Close();
}

void CalibrateCall::Ended(bool ok) {
  if (!ok || call_->cancelled()->load()) {
    Complete(absl::CancelledError("cancelled before the last row"));
  } else {
    Open();  // for Ran
    service_->parts().executor->Add([this] {
      status_ =
          call_->cancelled()->load() ? absl::CancelledError("cancelled before the last row") : run_.Finish(&response_);
      lane_->Send(&ran_tag_);
    });
  }
  Close();
}

void CalibrateCall::Ran(bool /*ok*/) {
  Complete(status_);
  Close();
}

void CalibrateCall::Complete(const absl::Status& status) {
  if (counted_) service_->RemoveCalibration();
  call_->RecordDuration();
  const grpc::Status reply = call_->End(status);
  Open();
  if (reply.ok()) {
    stream_.Finish(response_, reply, &finished_tag_);
  } else {
    stream_.FinishWithError(reply, &finished_tag_);
  }
}

void CalibrateCall::Finished(bool /*ok*/) {
  call_.reset();  // leaves the gate
  Close();
}

void CalibrateCall::Gone(bool /*ok*/) {
  if (call_ && context_.IsCancelled()) call_->Cancel();
  Close();
}

}  // namespace astray
