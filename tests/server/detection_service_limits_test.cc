// What the service refuses: more calls than may wait, and bytes that are no request.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "tests/server/detection_service_fixture.h"
#include "tests/testing/lane_server.h"
#include "tests/testing/many_calls.h"
#include "tests/testing/raw_call.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

// The rare methods on a lane of the test's, whose executor and reader wait until the test lets them go on.
class WaitingDetectionService : public testing::Test {
 protected:
  WaitingDetectionService() {
    WriteTinyArtifact(models_);
    EXPECT_TRUE(registry_.Poll().ok());
    for (SerialExecutor* executor : {&executor_, &reader_}) {
      executor->Add([this] { go_on_.WaitForNotification(); });
    }
    service_.PostRare(server_.lane());
    server_.lane()->Start();
    stub_ = v1::DetectionService::NewStub(server_.Connect());
  }
  ~WaitingDetectionService() override {
    GoOn();
    gate_.Close();
    EXPECT_TRUE(gate_.AwaitEmpty(absl::Seconds(30)));
    server_.Cancel();
    queue_.Shutdown();
    reader_.Shutdown();
    executor_.Shutdown();
    server_.lane()->Shutdown();
  }
  void GoOn() {
    if (!go_on_.HasBeenNotified()) go_on_.Notify();
  }
  // Of 1,026 calls two are refused while none can go on; then the others get to be judged.
  template <typename Response>
  void ExpectBounded(ManyCalls<Response>* calls, const std::string& method, grpc::StatusCode judged) {
    for (int i = 0; i < 2; ++i) {
      const grpc::Status status = calls->NextStatus();
      EXPECT_EQ(status.error_code(), grpc::RESOURCE_EXHAUSTED);
      EXPECT_EQ(status.error_message(), "1024 calls of this method wait already; retry later");
    }
    EXPECT_THAT(metrics_.Serialize(),
                HasSubstr("astray_requests_total{code=\"RESOURCE_EXHAUSTED\",method=\"" + method + "\"} 2\n"));
    GoOn();
    for (int i = 0; i < 1024; ++i) EXPECT_EQ(calls->NextStatus().error_code(), judged);
  }

  const TemporaryFolder folder_;
  const std::filesystem::path models_ = folder_.path();
  Metrics metrics_;
  DetectorRegistry registry_{models_, &metrics_};
  ScoringQueue queue_{1, 100, &metrics_};
  FeedbackStore feedback_{models_, {}};
  absl::Notification go_on_;
  SerialExecutor executor_, reader_;
  CallGate gate_;
  DetectionService service_{{&registry_, &queue_, &executor_, &gate_, &metrics_, 1000, &feedback_, &reader_}};
  LaneServer server_{&service_};
  std::unique_ptr<v1::DetectionService::Stub> stub_;
};

TEST_F(WaitingDetectionService, RefusesMoreFeedbackThanMayWait) {
  v1::FeedbackRequest request;  // of no kind
  request.mutable_model()->set_name("pump");
  request.mutable_values()->Resize(3, 1.0f);
  ManyCalls<v1::FeedbackResponse> calls(
      1026, [&](auto* context, auto* queue) { return stub_->AsyncFeedback(context, request, queue); });
  ExpectBounded(&calls, "Feedback", grpc::INVALID_ARGUMENT);
}

TEST_F(WaitingDetectionService, RefusesMoreLogsThanMayWait) {
  v1::ScoreLogsRequest request;  // of a model of rows
  request.mutable_model()->set_name("pump");
  request.add_lines("a line");
  ManyCalls<v1::ScoreLogsResponse> calls(
      1026, [&](auto* context, auto* queue) { return stub_->AsyncScoreLogs(context, request, queue); });
  ExpectBounded(&calls, "ScoreLogs", grpc::FAILED_PRECONDITION);
}

// gRPC itself refuses what cannot be parsed as a unary method's request.
TEST_F(DetectionServiceTest, ARequestThatIsNoneIsRefusedAndKeepsNothing) {
  const std::pair<const char*, const char*> methods[] = {
      {"astray.v1.DetectionService/Score", "astray.v1.ScoreRequest"},
      {"astray.v1.DetectionService/ScoreLogs", "astray.v1.ScoreLogsRequest"},
      {"astray.v1.DetectionService/Feedback", "astray.v1.FeedbackRequest"},
      {"astray.v1.ModelService/UnloadModel", "astray.v1.UnloadModelRequest"},
      {"grpc.health.v1.Health/Check", "grpc.health.v1.HealthCheckRequest"}};
  for (const auto& [method, request] : methods) {
    RawCall call(server_.channel(), absl::StrCat("/", method));
    call.Write("\x0a\x02\xff\xff");
    call.WritesDone();
    const grpc::Status status = call.Finish();
    EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT) << method;
    EXPECT_EQ(status.error_message(),
              absl::StrCat("message: expected one of type ", request, ", got 4 bytes that are none"));
  }
  EXPECT_THAT(HttpGet(server_.server().http_port(), "/metrics"),
              HasSubstr("astray_requests_total{code=\"INVALID_ARGUMENT\",method=\"Score\"} 1"));
  v1::ScoreResponse response;
  EXPECT_TRUE(server_.Score(MakeScoreRequest("pump", TinyRows(1, 3, 1)), &response).ok());
  EXPECT_FALSE(std::filesystem::exists(server_.models() / "pump/feedback"));
}

}  // namespace
}  // namespace astray
