#include "server/calibrate_call.h"

#include <utility>

#include "engine/base/status_macros.h"
#include "server/message_bytes.h"

namespace astray {

CalibrateCall::CalibrateCall(DetectionService* service, Lane* lane)
    : LaneCall(lane),
      service_(service),
      stream_(context()),
      run_(service->parts().registry, service->parts().queue, service->parts().feedback,
           service->parts().max_calibration_rows) {
  service_->RequestCalibrate(context(), &stream_, lane->queue(), lane->queue(), arrived_tag());
}

void CalibrateCall::Begin() {
  if (const absl::Status status = Admit(); !status.ok()) {
    Complete(status);
  } else {
    ReadNext();
  }
}

absl::Status CalibrateCall::Admit() {
  call_.emplace(service_->parts().gate, service_->parts().metrics, Method::kCalibrate);
  RETURN_IF_ERROR(call_->Admitted());
  RETURN_IF_ERROR(service_->AddCalibration());
  counted_ = true;
  return absl::OkStatus();
}

void CalibrateCall::ReadNext() { stream_.Read(&bytes_, Open(&read_tag_)); }

void CalibrateCall::Read(bool ok) {
  if (!ok) {
    // A stream also ends when its client dies; what came so far is then not what the client meant. Sending fails then,
    // whether or not Gone has come.
    stream_.SendInitialMetadata(Open(&ended_tag_));
    return;
  }
  if (const absl::Status status = ParseMessage(&bytes_, &request_); !status.ok()) {
    Complete(status);
    return;
  }
  Open(&added_tag_);
  if (request_.has_header()) {
    service_->parts().executor->Add([this] { Add(); });
  } else if (request_.has_lines()) {
    service_->parts().reader->Add([this] { Add(); });
  } else {
    Add();
  }
}

void CalibrateCall::Add() {
  run_.Add(request_, call_->cancelled(), [this](absl::Status status) {
    status_ = std::move(status);
    lane()->Send(&added_tag_);
  });
}

void CalibrateCall::Added(bool /*ok*/) {
  if (status_.ok()) {
    ReadNext();
  } else {
    Complete(status_);
  }
}

void CalibrateCall::Ended(bool ok) {
  if (!ok || call_->cancelled()->load()) {
    Complete(absl::CancelledError("cancelled before the last row"));
  } else {
    Open(&ran_tag_);
    service_->parts().executor->Add([this] {
      status_ =
          call_->cancelled()->load() ? absl::CancelledError("cancelled before the last row") : run_.Finish(&response_);
      lane()->Send(&ran_tag_);
    });
  }
}

void CalibrateCall::Ran(bool /*ok*/) { Complete(status_); }

void CalibrateCall::Complete(const absl::Status& status) {
  if (counted_) service_->RemoveCalibration();
  call_->RecordDuration();
  const grpc::Status reply = call_->End(status);
  if (reply.ok()) {
    stream_.Finish(SerializeMessage(response_), reply, Open(&finished_tag_));
  } else {
    stream_.FinishWithError(reply, Open(&finished_tag_));
  }
}

void CalibrateCall::Finished(bool /*ok*/) {
  call_.reset();  // leaves the gate
}

void CalibrateCall::Gone(bool /*ok*/) {
  if (call_ && context()->IsCancelled()) call_->Cancel();
}

}  // namespace astray
