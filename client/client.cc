#include "client/client.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

// Only a call that never reached a server is tried again.
constexpr char kServiceConfig[] = R"({
  "methodConfig": [{
    "name": [{}],
    "retryPolicy": {
      "maxAttempts": 3,
      "initialBackoff": "0.1s",
      "maxBackoff": "0.5s",
      "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE"]
    }
  }]
})";

absl::Status ToStatus(const grpc::Status& status, const std::string& target) {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  absl::Status result(code, code == absl::StatusCode::kUnavailable
                                ? absl::StrCat("no answer from ", target, ": ", status.error_message())
                                : status.error_message());
  result.SetPayload(kRpcPayload, absl::Cord());
  return result;
}

}  // namespace

template <typename Request, typename Response>
StreamCall<Request, Response>::StreamCall(v1::DetectionService::Stub* stub, Method method, std::string target)
    : target_(std::move(target)), stream_((stub->*method)(&context_)) {}

template <typename Request, typename Response>
StreamCall<Request, Response>::~StreamCall() {
  if (finished_) return;
  context_.TryCancel();
  stream_->Finish();
}

template <typename Request, typename Response>
bool StreamCall<Request, Response>::Write(const Request& request) {
  return stream_->Write(request);
}

template <typename Request, typename Response>
void StreamCall<Request, Response>::WritesDone() {
  stream_->WritesDone();
}

template <typename Request, typename Response>
bool StreamCall<Request, Response>::Read(Response* response) {
  return stream_->Read(response);
}

template <typename Request, typename Response>
void StreamCall<Request, Response>::Cancel() {
  context_.TryCancel();
}

template <typename Request, typename Response>
absl::Status StreamCall<Request, Response>::Finish() {
  finished_ = true;
  return ToStatus(stream_->Finish(), target_);
}

template class StreamCall<v1::ScoreStreamRequest, v1::ScoreResponse>;
template class StreamCall<v1::ScoreLogsRequest, v1::ScoreLogsResponse>;

std::unique_ptr<Client> Client::Connect(const std::string& target, const Options& options) {
  return std::unique_ptr<Client>(new Client(target, options));
}

Client::Client(const std::string& target, const Options& options) : target_(target), options_(options) {
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  arguments.SetMaxReceiveMessageSize(options.max_message_bytes);
  arguments.SetMaxSendMessageSize(options.max_message_bytes);
  if (options.own_connection) arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto channel = grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
  detection_ = v1::DetectionService::NewStub(channel);
  models_ = v1::ModelService::NewStub(channel);
}

template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Client::Call(Stub* stub,
                                      grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                      const Request& request) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + options_.timeout);
  Response response;
  RETURN_IF_ERROR(ToStatus((stub->*method)(&context, request, &response), target_));
  return response;
}

absl::Status Client::Score(const v1::ScoreRequest& request, v1::ScoreResponse* response) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + options_.timeout);
  return ToStatus(detection_->Score(&context, request, response), target_);
}

absl::StatusOr<v1::ScoreResponse> Client::Score(const v1::ScoreRequest& request) {
  v1::ScoreResponse response;
  RETURN_IF_ERROR(Score(request, &response));
  return response;
}

std::unique_ptr<ScoreStreamCall> Client::ScoreStream() {
  return std::make_unique<ScoreStreamCall>(detection_.get(), &v1::DetectionService::Stub::ScoreStream, target_);
}

absl::StatusOr<v1::ScoreLogsResponse> Client::ScoreLogs(const v1::ScoreLogsRequest& request) {
  return Call(detection_.get(), &v1::DetectionService::Stub::ScoreLogs, request);
}

std::unique_ptr<ScoreLogStreamCall> Client::ScoreLogStream() {
  return std::make_unique<ScoreLogStreamCall>(detection_.get(), &v1::DetectionService::Stub::ScoreLogStream, target_);
}

absl::StatusOr<v1::CalibrateResponse> Client::Calibrate(
    const v1::CalibrateHeader& header, const std::function<absl::StatusOr<bool>(v1::CalibrateRequest*)>& next) {
  grpc::ClientContext context;
  v1::CalibrateResponse response;
  const auto writer = detection_->Calibrate(&context, &response);
  v1::CalibrateRequest request;
  *request.mutable_header() = header;
  bool open = writer->Write(request);
  while (open) {
    request.Clear();
    const absl::StatusOr<bool> more = next(&request);
    if (!more.ok()) {
      context.TryCancel();
      writer->Finish();
      return more.status();
    }
    if (!*more) break;
    open = writer->Write(request);
  }
  writer->WritesDone();
  RETURN_IF_ERROR(ToStatus(writer->Finish(), target_));
  return response;
}

absl::StatusOr<v1::FeedbackResponse> Client::Feedback(const v1::FeedbackRequest& request) {
  return Call(detection_.get(), &v1::DetectionService::Stub::Feedback, request);
}

absl::StatusOr<v1::ListModelsResponse> Client::ListModels() {
  return Call(models_.get(), &v1::ModelService::Stub::ListModels, v1::ListModelsRequest());
}

absl::StatusOr<v1::ModelDescription> Client::DescribeModel(const v1::ModelRef& model) {
  v1::DescribeModelRequest request;
  *request.mutable_model() = model;
  return Call(models_.get(), &v1::ModelService::Stub::DescribeModel, request);
}

absl::StatusOr<v1::LoadModelResponse> Client::LoadModel(const std::string& name) {
  v1::LoadModelRequest request;
  request.set_name(name);
  return Call(models_.get(), &v1::ModelService::Stub::LoadModel, request);
}

absl::StatusOr<v1::UnloadModelResponse> Client::UnloadModel(const std::string& name, int64_t version) {
  v1::UnloadModelRequest request;
  request.set_name(name);
  request.set_version(version);
  return Call(models_.get(), &v1::ModelService::Stub::UnloadModel, request);
}

absl::StatusOr<v1::CalibrationChange> Client::PromoteCalibration(const v1::PromoteCalibrationRequest& request) {
  return Call(models_.get(), &v1::ModelService::Stub::PromoteCalibration, request);
}

absl::StatusOr<v1::CalibrationChange> Client::PromoteVersion(const v1::PromoteVersionRequest& request) {
  return Call(models_.get(), &v1::ModelService::Stub::PromoteVersion, request);
}

absl::StatusOr<v1::CalibrationChange> Client::RollbackCalibration(const v1::ModelRef& model) {
  v1::RollbackCalibrationRequest request;
  *request.mutable_model() = model;
  return Call(models_.get(), &v1::ModelService::Stub::RollbackCalibration, request);
}

absl::StatusOr<v1::SetShadowResponse> Client::SetShadow(const v1::SetShadowRequest& request) {
  return Call(models_.get(), &v1::ModelService::Stub::SetShadow, request);
}

absl::StatusOr<v1::SetLabelResponse> Client::SetLabel(const v1::SetLabelRequest& request) {
  return Call(models_.get(), &v1::ModelService::Stub::SetLabel, request);
}

}  // namespace astray
