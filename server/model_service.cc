#include "server/model_service.h"

#include <utility>

#include "engine/base/status_macros.h"

namespace astray {
namespace {

template <typename T>
absl::Status MoveInto(absl::StatusOr<T> value, T* target) {
  if (!value.ok()) return value.status();
  *target = *std::move(value);
  return absl::OkStatus();
}

// Null where there is none.
template <typename Request>
const v1::PromotionGate* GateOf(const Request& request) {
  return request.has_gate() ? &request.gate() : nullptr;
}

}  // namespace

grpc::ServerUnaryReactor* ModelService::Run(Method method, std::function<absl::Status()> work) {
  auto* call = new UnaryCall(gate_, metrics_, method);
  if (const absl::Status admitted = call->Admitted(); !admitted.ok()) {
    call->Complete(admitted);
    return call;
  }
  executor_->Add([call, work = std::move(work)] {
    // A caller that is gone by the time its turn comes wants no change any more.
    call->Complete(call->cancelled()->load() ? absl::CancelledError("cancelled") : work());
  });
  return call;
}

grpc::ServerUnaryReactor* ModelService::ListModels(Context* /*context*/, const v1::ListModelsRequest* /*request*/,
                                                   v1::ListModelsResponse* response) {
  auto* call = new UnaryCall(gate_, metrics_, Method::kListModels);
  if (call->Admitted().ok()) *response = registry_->List();
  call->Complete(call->Admitted());
  return call;
}

absl::Status ModelService::Describe(const v1::ModelRef& model, v1::ModelDescription* response) {
  RETURN_IF_ERROR(MoveInto(registry_->Describe(model), response));
  return MoveInto(feedback_->Summary(model.name()), response->mutable_feedback());
}

grpc::ServerUnaryReactor* ModelService::DescribeModel(Context* /*context*/, const v1::DescribeModelRequest* request,
                                                      v1::ModelDescription* response) {
  return Run(Method::kDescribeModel, [=, this] { return Describe(request->model(), response); });
}

grpc::ServerUnaryReactor* ModelService::LoadModel(Context* /*context*/, const v1::LoadModelRequest* request,
                                                  v1::LoadModelResponse* response) {
  return Run(Method::kLoadModel,
             [=, this] { return MoveInto(registry_->Load(request->name()), response->mutable_model()); });
}

grpc::ServerUnaryReactor* ModelService::UnloadModel(Context* /*context*/, const v1::UnloadModelRequest* request,
                                                    v1::UnloadModelResponse* response) {
  return Run(Method::kUnloadModel, [=, this] {
    return MoveInto(registry_->Unload(request->name(), request->version()), response->mutable_model());
  });
}

grpc::ServerUnaryReactor* ModelService::PromoteCalibration(Context* /*context*/,
                                                           const v1::PromoteCalibrationRequest* request,
                                                           v1::CalibrationChange* response) {
  return Run(Method::kPromoteCalibration, [=, this] {
    return MoveInto(registry_->Promote(request->model(), request->epoch(), GateOf(*request)), response);
  });
}

grpc::ServerUnaryReactor* ModelService::PromoteVersion(Context* /*context*/, const v1::PromoteVersionRequest* request,
                                                       v1::CalibrationChange* response) {
  return Run(Method::kPromoteVersion, [=, this] {
    return MoveInto(registry_->PromoteVersion(request->name(), request->version(), GateOf(*request)), response);
  });
}

grpc::ServerUnaryReactor* ModelService::SetShadow(Context* /*context*/, const v1::SetShadowRequest* request,
                                                  v1::SetShadowResponse* response) {
  return Run(Method::kSetShadow, [=, this] { return MoveInto(registry_->SetShadow(*request), response); });
}

grpc::ServerUnaryReactor* ModelService::RollbackCalibration(Context* /*context*/,
                                                            const v1::RollbackCalibrationRequest* request,
                                                            v1::CalibrationChange* response) {
  return Run(Method::kRollbackCalibration,
             [=, this] { return MoveInto(registry_->Rollback(request->model()), response); });
}

grpc::ServerUnaryReactor* ModelService::SetLabel(Context* /*context*/, const v1::SetLabelRequest* request,
                                                 v1::SetLabelResponse* response) {
  return Run(Method::kSetLabel, [=, this] {
    return MoveInto(registry_->SetLabel(request->name(), request->label(), request->version()),
                    response->mutable_model());
  });
}

}  // namespace astray
