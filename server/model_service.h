// astray.v1.ModelService over a DetectorRegistry.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "astray/v1/service.grpc.pb.h"
#include "server/call.h"
#include "server/detector_registry.h"
#include "server/feedback_store.h"
#include "server/serial_executor.h"

namespace astray {

class ModelService final : public v1::ModelService::CallbackService {
 public:
  // All must outlive the service.
  ModelService(DetectorRegistry* registry, FeedbackStore* feedback, SerialExecutor* executor, CallGate* gate,
               Metrics* metrics)
      : registry_(registry), feedback_(feedback), executor_(executor), gate_(gate), metrics_(metrics) {}

  using Context = grpc::CallbackServerContext;
  grpc::ServerUnaryReactor* ListModels(Context* context, const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;
  grpc::ServerUnaryReactor* DescribeModel(Context* context, const v1::DescribeModelRequest* request,
                                          v1::ModelDescription* response) override;
  grpc::ServerUnaryReactor* LoadModel(Context* context, const v1::LoadModelRequest* request,
                                      v1::LoadModelResponse* response) override;
  grpc::ServerUnaryReactor* UnloadModel(Context* context, const v1::UnloadModelRequest* request,
                                        v1::UnloadModelResponse* response) override;
  grpc::ServerUnaryReactor* PromoteCalibration(Context* context, const v1::PromoteCalibrationRequest* request,
                                               v1::CalibrationChange* response) override;
  grpc::ServerUnaryReactor* RollbackCalibration(Context* context, const v1::RollbackCalibrationRequest* request,
                                                v1::CalibrationChange* response) override;
  grpc::ServerUnaryReactor* PromoteVersion(Context* context, const v1::PromoteVersionRequest* request,
                                           v1::CalibrationChange* response) override;
  grpc::ServerUnaryReactor* SetShadow(Context* context, const v1::SetShadowRequest* request,
                                      v1::SetShadowResponse* response) override;
  grpc::ServerUnaryReactor* SetLabel(Context* context, const v1::SetLabelRequest* request,
                                     v1::SetLabelResponse* response) override;

 private:
  absl::Status Describe(const v1::ModelRef& model, v1::ModelDescription* response);
  // Runs `work` on the executor and finishes the call with its status.
  grpc::ServerUnaryReactor* Run(Method method, std::function<absl::Status()> work);

  DetectorRegistry* registry_;
  FeedbackStore* feedback_;
  SerialExecutor* executor_;
  CallGate* gate_;
  Metrics* metrics_;
};

}  // namespace astray
