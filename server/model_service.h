// astray.v1.ModelService over a DetectorRegistry.
#pragma once

#include "absl/status/status.h"
#include "astray/v1/service.grpc.pb.h"
#include "server/call_gate.h"
#include "server/detector_registry.h"
#include "server/feedback_store.h"
#include "server/lane.h"
#include "server/metrics.h"
#include "server/serial_executor.h"
#include "server/unary_method.h"

namespace astray {

// How gRPC hands its calls over: as bytes (message_bytes.h).
using ModelMethods = v1::ModelService::WithRawMethod_ListModels<v1::ModelService::WithRawMethod_DescribeModel<
    v1::ModelService::WithRawMethod_LoadModel<v1::ModelService::WithRawMethod_UnloadModel<
        v1::ModelService::WithRawMethod_PromoteCalibration<v1::ModelService::WithRawMethod_PromoteVersion<
            v1::ModelService::WithRawMethod_RollbackCalibration<v1::ModelService::WithRawMethod_SetShadow<
                v1::ModelService::WithRawMethod_SetLabel<v1::ModelService::Service>>>>>>>>>;

class ModelService final : public ModelMethods {
 public:
  // All must outlive the service.
  ModelService(DetectorRegistry* registry, FeedbackStore* feedback, SerialExecutor* executor, CallGate* gate,
               Metrics* metrics)
      : registry_(registry), feedback_(feedback), executor_(executor), unary_(gate, metrics) {}

  // Waits for calls of every method, before the lane starts. Must outlive its thread.
  void Post(Lane* lane);

 private:
  absl::Status Describe(const v1::ModelRef& model, v1::ModelDescription* response);

  DetectorRegistry* registry_;
  FeedbackStore* feedback_;
  SerialExecutor* executor_;
  UnaryMethods unary_;
};

}  // namespace astray
