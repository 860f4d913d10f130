// The C++ client of astrayd: blocking calls over one gRPC channel. Thread-safe; streams are not.
//
//   auto client = Client::Connect("localhost:8001", {});
//   auto reply = (*client)->Score(request);
//
// Errors are the server's own status and message, marked with kRpcPayload; Unavailable names the target, too.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "astray/v1/service.grpc.pb.h"

namespace astray {

inline constexpr char kRpcPayload[] = "astray.v1/rpc";  // payload that tells a server's error from a local one

// One call that streams both ways. Write and Read may be called from two threads, each by one.
template <typename Request, typename Response>
class StreamCall {
 public:
  using Method = std::unique_ptr<grpc::ClientReaderWriter<Request, Response>> (v1::DetectionService::Stub::*)(
      grpc::ClientContext*);
  StreamCall(v1::DetectionService::Stub* stub, Method method, std::string target);
  ~StreamCall();  // cancels what is not finished

  bool Write(const Request& request);  // false: the stream broke, Finish says why
  void WritesDone();
  bool Read(Response* response);  // false at the end
  void Cancel();
  absl::Status Finish();  // after Read returned false

 private:
  std::string target_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<Request, Response>> stream_;
  bool finished_ = false;
};
using ScoreStreamCall = StreamCall<v1::ScoreStreamRequest, v1::ScoreResponse>;
using ScoreLogStreamCall = StreamCall<v1::ScoreLogsRequest, v1::ScoreLogsResponse>;

class Client {
 public:
  struct Options {
    std::chrono::milliseconds timeout{30'000};  // of one unary call; streams have none
    int max_message_bytes = 64 << 20;
    bool own_connection = false;  // otherwise clients of one target share theirs
  };

  // Connects at the first call; a call that finds no server is tried three times within a second.
  static std::unique_ptr<Client> Connect(const std::string& target, const Options& options);

  absl::StatusOr<v1::ScoreResponse> Score(const v1::ScoreRequest& request);
  // Fills `response`, which may be used again from call to call.
  absl::Status Score(const v1::ScoreRequest& request, v1::ScoreResponse* response);
  std::unique_ptr<ScoreStreamCall> ScoreStream();
  absl::StatusOr<v1::ScoreLogsResponse> ScoreLogs(const v1::ScoreLogsRequest& request);
  std::unique_ptr<ScoreLogStreamCall> ScoreLogStream();

  // `next` fills an empty message with rows or lines and returns false when there are no more; its error ends the call.
  absl::StatusOr<v1::CalibrateResponse> Calibrate(
      const v1::CalibrateHeader& header, const std::function<absl::StatusOr<bool>(v1::CalibrateRequest*)>& next);
  absl::StatusOr<v1::FeedbackResponse> Feedback(const v1::FeedbackRequest& request);

  absl::StatusOr<v1::ListModelsResponse> ListModels();
  absl::StatusOr<v1::ModelDescription> DescribeModel(const v1::ModelRef& model);
  absl::StatusOr<v1::LoadModelResponse> LoadModel(const std::string& name);
  absl::StatusOr<v1::UnloadModelResponse> UnloadModel(const std::string& name, int64_t version);
  absl::StatusOr<v1::CalibrationChange> PromoteCalibration(const v1::PromoteCalibrationRequest& request);
  absl::StatusOr<v1::CalibrationChange> PromoteVersion(const v1::PromoteVersionRequest& request);
  absl::StatusOr<v1::CalibrationChange> RollbackCalibration(const v1::ModelRef& model);
  absl::StatusOr<v1::SetShadowResponse> SetShadow(const v1::SetShadowRequest& request);
  absl::StatusOr<v1::SetLabelResponse> SetLabel(const v1::SetLabelRequest& request);

  const std::string& target() const { return target_; }

 private:
  Client(const std::string& target, const Options& options);
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(Stub* stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                const Request& request);

  std::string target_;
  Options options_;
  std::unique_ptr<v1::DetectionService::Stub> detection_;
  std::unique_ptr<v1::ModelService::Stub> models_;
};

}  // namespace astray
