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
  unary_.Post<v1::ListModelsRequest, v1::ListModelsResponse>(
      lane, Method::kListModels, this, &ModelService::RequestListModels, [this](auto* slot, const UnaryDone& done) {
        *slot->response() = registry_->List();
        done(absl::OkStatus());
      });
  unary_.PostOn<v1::DescribeModelRequest, v1::ModelDescription>(
      executor_, lane, Method::kDescribeModel, this, &ModelService::RequestDescribeModel,
      [this](const auto& request, auto* response) { return Describe(request.model(), response); });
  unary_.PostOn<v1::LoadModelRequest, v1::LoadModelResponse>(
      executor_, lane, Method::kLoadModel, this, &ModelService::RequestLoadModel,
      [this](const auto& request, auto* response) {
        return MoveInto(registry_->Load(request.name()), response->mutable_model());
      });
  unary_.PostOn<v1::UnloadModelRequest, v1::UnloadModelResponse>(
      executor_, lane, Method::kUnloadModel, this, &ModelService::RequestUnloadModel,
      [this](const auto& request, auto* response) {
        return MoveInto(registry_->Unload(request.name(), request.version()), response->mutable_model());
      });
  unary_.PostOn<v1::PromoteCalibrationRequest, v1::CalibrationChange>(
      executor_, lane, Method::kPromoteCalibration, this, &ModelService::RequestPromoteCalibration,
      [this](const auto& request, auto* response) {
        return MoveInto(registry_->Promote(request.model(), request.epoch(), GateOf(request)), response);
      });
  unary_.PostOn<v1::PromoteVersionRequest, v1::CalibrationChange>(
      executor_, lane, Method::kPromoteVersion, this, &ModelService::RequestPromoteVersion,
      [this](const auto& request, auto* response) {
        return MoveInto(registry_->PromoteVersion(request.name(), request.version(), GateOf(request)), response);
      });
  unary_.PostOn<v1::RollbackCalibrationRequest, v1::CalibrationChange>(
      executor_, lane, Method::kRollbackCalibration, this, &ModelService::RequestRollbackCalibration,
      [this](const auto& request, auto* response) { return MoveInto(registry_->Rollback(request.model()), response); });
  unary_.PostOn<v1::SetShadowRequest, v1::SetShadowResponse>(
      executor_, lane, Method::kSetShadow, this, &ModelService::RequestSetShadow,
      [this](const auto& request, auto* response) { return MoveInto(registry_->SetShadow(request), response); });
  unary_.PostOn<v1::SetLabelRequest, v1::SetLabelResponse>(
      executor_, lane, Method::kSetLabel, this, &ModelService::RequestSetLabel,
      [this](const auto& request, auto* response) {
        return MoveInto(registry_->SetLabel(request.name(), request.label(), request.version()),
                        response->mutable_model());
      });
}

absl::Status ModelService::Describe(const v1::ModelRef& model, v1::ModelDescription* response) {
  RETURN_IF_ERROR(MoveInto(registry_->Describe(model), response));
  return MoveInto(feedback_->Summary(model.name()), response->mutable_feedback());
}

}  // namespace astray
