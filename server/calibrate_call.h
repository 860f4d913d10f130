// One call of Calibrate, on a lane: reads a message, adds it to the run, reads the next; at the end of the stream the
// run is finished. Files are read and written by the executor, log lines read by the reader; all that is gRPC's is done
// on the lane.
#pragma once

#include <optional>

#include "absl/status/status.h"
#include "astray/v1/service.pb.h"
#include "grpcpp/support/async_stream.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/calibration_run.h"
#include "server/call.h"
#include "server/detection_service.h"
#include "server/lane.h"
#include "server/lane_call.h"

namespace astray {

class CalibrateCall final : public LaneCall {
 public:
  // Waits for a call; each that comes has another one wait. All must outlive the lane's thread.
  static void Post(DetectionService* service, Lane* lane) { new CalibrateCall(service, lane); }

 private:
  CalibrateCall(DetectionService* service, Lane* lane);

  void PostNext() override { Post(service_, lane()); }
  void Begin() override;
  void Gone(bool ok) override;

  // Tags.
  void Read(bool ok);
  void Added(bool ok);     // the message, by another thread
  void Ended(bool ok);     // the stream: by the client's wish, where ok
  void Ran(bool ok);       // the run is finished, by the executor
  void Finished(bool ok);  // the reply is sent

  absl::Status Admit();
  void ReadNext();
  void Add();
  void Complete(const absl::Status& status);

  DetectionService* const service_;
  grpc::ServerAsyncReader<grpc::ByteBuffer, grpc::ByteBuffer> stream_;
  std::optional<Call> call_;
  bool counted_ = false;
  grpc::ByteBuffer bytes_;  // of the request
  v1::CalibrateRequest request_;
  v1::CalibrateResponse response_;
  CalibrationRun run_;
  absl::Status status_;  // of another thread's work, until its tag

  Tag<CalibrateCall, &CalibrateCall::Read> read_tag_{this};
  Tag<CalibrateCall, &CalibrateCall::Added> added_tag_{this};
  Tag<CalibrateCall, &CalibrateCall::Ended> ended_tag_{this};
  Tag<CalibrateCall, &CalibrateCall::Ran> ran_tag_{this};
  Tag<CalibrateCall, &CalibrateCall::Finished> finished_tag_{this};
};

}  // namespace astray
