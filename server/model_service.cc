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

void ModelService::Post(Lane* lane) {
  unary_.Post(lane, Method::kListModels, this, &ModelService::RequestListModels,
              [this](auto* slot, const UnaryDone& done) {
                *slot->response() = registry_->List();
                done(absl::OkStatus());
              });
  unary_.PostOn(executor_, lane, Method::kDescribeModel, this, &ModelService::RequestDescribeModel,
                [this](const v1::DescribeModelRequest& request, v1::ModelDescription* response) {
                  return Describe(request.model(), response);
                });
  unary_.PostOn(executor_, lane, Method::kLoadModel, this, &ModelService::RequestLoadModel,
                [this](const v1::LoadModelRequest& request, v1::LoadModelResponse* response) {
                  return MoveInto(registry_->Load(request.name()), response->mutable_model());
                });
  unary_.PostOn(executor_, lane, Method::kUnloadModel, this, &ModelService::RequestUnloadModel,
                [this](const v1::UnloadModelRequest& request, v1::UnloadModelResponse* response) {
                  return MoveInto(registry_->Unload(request.name(), request.version()), response->mutable_model());
                });
  unary_.PostOn(executor_, lane, Method::kPromoteCalibration, this, &ModelService::RequestPromoteCalibration,
                [this](const v1::PromoteCalibrationRequest& request, v1::CalibrationChange* response) {
                  return MoveInto(registry_->Promote(request.model(), request.epoch(), GateOf(request)), response);
                });
  unary_.PostOn(executor_, lane, Method::kPromoteVersion, this, &ModelService::RequestPromoteVersion,
                [this](const v1::PromoteVersionRequest& request, v1::CalibrationChange* response) {
                  return MoveInto(registry_->PromoteVersion(request.name(), request.version(), GateOf(request)),
                                  response);
                });
  unary_.PostOn(executor_, lane, Method::kRollbackCalibration, this, &ModelService::RequestRollbackCalibration,
                [this](const v1::RollbackCalibrationRequest& request, v1::CalibrationChange* response) {
                  return MoveInto(registry_->Rollback(request.model()), response);
                });
  unary_.PostOn(executor_, lane, Method::kSetShadow, this, &ModelService::RequestSetShadow,
                [this](const v1::SetShadowRequest& request, v1::SetShadowResponse* response) {
                  return MoveInto(registry_->SetShadow(request), response);
                });
  unary_.PostOn(executor_, lane, Method::kSetLabel, this, &ModelService::RequestSetLabel,
                [this](const v1::SetLabelRequest& request, v1::SetLabelResponse* response) {
                  return MoveInto(registry_->SetLabel(request.name(), request.label(), request.version()),
                                  response->mutable_model());
                });
}

absl::Status ModelService::Describe(const v1::ModelRef& model, v1::ModelDescription* response) {
  RETURN_IF_ERROR(MoveInto(registry_->Describe(model), response));
  return MoveInto(feedback_->Summary(model.name()), response->mutable_feedback());
}

}  // namespace astray
