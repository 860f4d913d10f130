#include "server/model_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/testing/running_server.h"

namespace astray {
namespace {

using testing::HasSubstr;

// Calls one method of the stub.
template <typename Response, typename Method, typename Request>
grpc::Status Call(RunningServer& server, Method method, const Request& request, Response* response) {
  grpc::ClientContext context;
  return (server.model().*method)(&context, request, response);
}

using Stub = v1::ModelService::Stub;

TEST(ModelService, ModelsAreLoadedListedLabelledAndUnloaded) {
  RunningServer server;
  WriteTinyArtifact(server.models(), {.seed = 2});
  v1::LoadModelRequest load;
  load.set_name("pump");
  v1::LoadModelResponse loaded;
  ASSERT_TRUE(Call(server, &Stub::LoadModel, load, &loaded).ok());
  EXPECT_EQ(loaded.model().versions_size(), 2);

  v1::SetLabelRequest label;
  label.set_name("pump");
  label.set_label("stable");
  label.set_version(1);
  v1::SetLabelResponse labelled;
  ASSERT_TRUE(Call(server, &Stub::SetLabel, label, &labelled).ok());
  EXPECT_EQ(labelled.model().labels().at("stable"), 1);

  v1::DescribeModelRequest describe;
  describe.mutable_model()->set_name("pump");
  describe.mutable_model()->set_label("stable");
  v1::ModelDescription description;
  ASSERT_TRUE(Call(server, &Stub::DescribeModel, describe, &description).ok());
  EXPECT_EQ(description.version().version(), 1);
  EXPECT_EQ(description.recipe().name(), "pump");

  v1::UnloadModelRequest unload;
  unload.set_name("pump");
  v1::UnloadModelResponse unloaded;
  ASSERT_TRUE(Call(server, &Stub::UnloadModel, unload, &unloaded).ok());
  v1::ListModelsResponse list;
  ASSERT_TRUE(Call(server, &Stub::ListModels, v1::ListModelsRequest(), &list).ok());
  EXPECT_EQ(list.models(0).versions(0).state(), v1::VersionSummary::UNLOADED);
  EXPECT_EQ(server.Metric("astray_models_loaded"), 0);
}

TEST(ModelService, PromoteAndRollbackChangeWhatScores) {
  RunningServer server;
  v1::CalibrateHeader header;
  header.mutable_model()->set_name("pump");
  v1::CalibrateResponse calibrated;
  ASSERT_TRUE(server.Calibrate(header, TinyRows(100, 3, 1), &calibrated).ok());
  v1::PromoteCalibrationRequest promote;
  *promote.mutable_model() = header.model();
  promote.set_epoch(2);
  v1::CalibrationChange change;
  ASSERT_TRUE(Call(server, &Stub::PromoteCalibration, promote, &change).ok());
  EXPECT_EQ(change.live().threshold(), calibrated.calibration().threshold());
  v1::ScoreResponse scored;
  ASSERT_TRUE(server.Score(MakeScoreRequest("pump", TinyRows(1, 3, 1)), &scored).ok());
  EXPECT_EQ(scored.provenance().calibration_epoch(), 2u);
  v1::RollbackCalibrationRequest rollback;
  *rollback.mutable_model() = header.model();
  ASSERT_TRUE(Call(server, &Stub::RollbackCalibration, rollback, &change).ok());
  EXPECT_EQ(change.live().epoch(), 1u);
  const grpc::Status status = Call(server, &Stub::RollbackCalibration, rollback, &change);
  EXPECT_EQ(status.error_code(), grpc::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("model 'pump' version 1: no promotion to undo"));
}

TEST(ModelService, ErrorsComeWithTheirCodes) {
  RunningServer server;
  v1::LoadModelRequest load;
  v1::LoadModelResponse loaded;
  load.set_name("../etc");
  EXPECT_EQ(Call(server, &Stub::LoadModel, load, &loaded).error_code(), grpc::INVALID_ARGUMENT);
  load.set_name("valve");
  EXPECT_EQ(Call(server, &Stub::LoadModel, load, &loaded).error_code(), grpc::NOT_FOUND);
  v1::PromoteCalibrationRequest promote;
  promote.mutable_model()->set_name("pump");
  promote.set_epoch(7);
  v1::CalibrationChange change;
  EXPECT_EQ(Call(server, &Stub::PromoteCalibration, promote, &change).error_code(), grpc::NOT_FOUND);
  v1::UnloadModelRequest unload;
  unload.set_name("valve");
  v1::UnloadModelResponse unloaded;
  EXPECT_EQ(Call(server, &Stub::UnloadModel, unload, &unloaded).error_code(), grpc::NOT_FOUND);
}

}  // namespace
}  // namespace astray
