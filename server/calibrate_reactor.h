// One Calibrate call: reads a message, adds it to the run, reads the next; at the end of the stream the run is finished
// on the executor. Owns itself.
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/status/status.h"
#include "astray/v1/service.pb.h"
#include "grpcpp/support/server_callback.h"
#include "server/calibration_run.h"
#include "server/call.h"
#include "server/detection_service.h"

namespace astray {

class CalibrateReactor final : public grpc::ServerReadReactor<v1::CalibrateRequest> {
 public:
  CalibrateReactor(DetectionService* service, grpc::CallbackServerContext* context, v1::CalibrateResponse* response);
  ~CalibrateReactor() override;

  void Start();

 private:
  void OnReadDone(bool ok) override;
  void OnCancel() override { call_.Cancel(); }
  void OnDone() override { delete this; }
  void Add();
  void Complete(const absl::Status& status);

  DetectionService* service_;
  grpc::CallbackServerContext* context_;
  v1::CalibrateResponse* response_;
  Call call_;
  bool counted_ = false;
  v1::CalibrateRequest request_;
  CalibrationRun run_;
  // Messages added: what a worker wrote to run_ is seen by who reads it next. gRPC orders the two as well, but nothing
  // in its contract, and nothing that ThreadSanitizer can see, says so.
  std::atomic<uint64_t> added_{0};
};

}  // namespace astray
