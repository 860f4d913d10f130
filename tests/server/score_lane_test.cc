// Score on a lane that the test drives: it runs once the calls are there.
#include "server/score_lane.h"

#include <gtest/gtest.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "grpcpp/grpcpp.h"
#include "tests/testing/lane_server.h"
#include "tests/testing/running_server.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

class ScoreLaneTest : public testing::Test {
 protected:
  static constexpr size_t kQueueRows = 1000;

  ScoreLaneTest() {
    WriteTinyArtifact(models_);
    // A large network: before it runs, the lane looks for further calls.
    WriteTinyArtifact(models_, {.name = "valve", .hidden = {512, 512, 512}});
    EXPECT_TRUE(registry_.Poll().ok());
    score_.emplace(&service_, server_.lane());
    score_->PostAll();
    server_.lane()->Start();
    stub_ = v1::DetectionService::NewStub(server_.Connect());
  }
  ~ScoreLaneTest() override {
    gate_.Close();
    EXPECT_TRUE(gate_.AwaitEmpty(absl::Seconds(30)));
    server_.Shutdown();
    queue_.Shutdown();
    server_.lane()->Shutdown();
  }
  grpc::Status Score(const v1::ScoreRequest& request, v1::ScoreResponse* response) {
    grpc::ClientContext context;
    return stub_->Score(&context, request, response);
  }

  const TemporaryFolder folder_;
  const std::filesystem::path models_ = folder_.path();
  Metrics metrics_;
  DetectorRegistry registry_{models_, &metrics_};
  ScoringQueue queue_{1, kQueueRows, &metrics_};
  FeedbackStore feedback_{models_, {}};
  SerialExecutor executor_;
  CallGate gate_;
  DetectionService service_{{&registry_, &queue_, &executor_, &gate_, &metrics_, 1000, &feedback_, &executor_}};
  LaneServer server_{&service_};
  std::optional<ScoreLane> score_;
  std::unique_ptr<v1::DetectionService::Stub> stub_;
};

TEST_F(ScoreLaneTest, WhatExceedsTheRowsThatMayWaitIsRefused) {
  v1::ScoreResponse response;
  queue_.waiting_rows().Add(kQueueRows - 5);  // in other lanes
  const grpc::Status status = Score(MakeScoreRequest("pump", TinyRows(6, 3, 1)), &response);
  EXPECT_EQ(status.error_code(), grpc::RESOURCE_EXHAUSTED);
  EXPECT_EQ(status.error_message(), "the queue is full: 995 of 1000 rows wait, this request has 6; retry later");
  EXPECT_TRUE(Score(MakeScoreRequest("pump", TinyRows(5, 3, 1)), &response).ok());
  queue_.waiting_rows().Remove(kQueueRows - 5);
  EXPECT_TRUE(Score(MakeScoreRequest("pump", TinyRows(900, 3, 1)), &response).ok());
  EXPECT_EQ(queue_.waiting_rows().rows(), 0u);
}

TEST_F(ScoreLaneTest, AClosedGateIsUnavailable) {
  gate_.Close();
  v1::ScoreResponse response;
  EXPECT_EQ(Score(MakeScoreRequest("pump", TinyRows(1, 3, 1)), &response).error_code(), grpc::UNAVAILABLE);
}

// More calls at once than slots are posted, of two models, some large, some wrong: each has its own answer, whatever
// slot it had.
TEST_F(ScoreLaneTest, ManyCallsAtOnceHaveTheirOwnAnswers) {
  constexpr int kCalls = 600;
  struct Call {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientAsyncResponseReader<v1::ScoreResponse>> reader;
    v1::ScoreResponse response;
    grpc::Status status;
    std::vector<float> rows;
  };
  std::vector<Call> calls(kCalls);
  grpc::CompletionQueue answers;
  const auto model = [](int i) { return i % 3 == 0 ? "valve" : "pump"; };
  const auto wrong = [](int i) { return i % 7 == 0; };
  for (int i = 0; i < kCalls; ++i) {
    Call& call = calls[static_cast<size_t>(i)];
    call.rows = TinyRows(i % 100 == 50 ? 300 : 1 + static_cast<size_t>(i % 2), 3, static_cast<uint64_t>(i));
    v1::ScoreRequest request = MakeScoreRequest(model(i), call.rows);
    request.set_id(absl::StrCat(i));
    if (i % 5 == 0) request.mutable_options()->set_reconstruction(true);
    if (wrong(i)) request.mutable_values()->RemoveLast();
    call.reader = stub_->AsyncScore(&call.context, request, &answers);
    call.reader->Finish(&call.response, &call.status, &call);
  }
  void* tag = nullptr;
  bool ok = false;
  for (int i = 0; i < kCalls; ++i) ASSERT_TRUE(answers.Next(&tag, &ok));
  v1::ModelRef ref;
  for (int i = 0; i < kCalls; ++i) {
    const Call& call = calls[static_cast<size_t>(i)];
    if (call.status.error_code() == grpc::RESOURCE_EXHAUSTED) continue;  // a slow machine
    ASSERT_EQ(call.status.error_code(), wrong(i) ? grpc::INVALID_ARGUMENT : grpc::OK) << call.status.error_message();
    if (wrong(i)) continue;
    ref.set_name(model(i));
    ScoreResult expected;
    ASSERT_TRUE(registry_.Find(ref)->detector->Score(call.rows, {.reconstruction = true}, &expected).ok());
    ASSERT_EQ(call.response.id(), absl::StrCat(i));
    ASSERT_EQ(call.response.provenance().model(), model(i));
    ASSERT_EQ(call.response.verdicts_size(), static_cast<int>(expected.verdicts.size()));
    for (int row = 0; row < call.response.verdicts_size(); ++row) {
      const v1::Verdict& verdict = call.response.verdicts(row);
      ASSERT_EQ(verdict.error(), expected.verdicts[static_cast<size_t>(row)].error) << i << " row " << row;
      ASSERT_EQ(verdict.reconstruction_size(), i % 5 == 0 ? 3 : 0);
    }
  }
  EXPECT_EQ(queue_.waiting_rows().rows(), 0u);
}

// Clients that go away leave slots that serve others.
TEST_F(ScoreLaneTest, CancelledCallsLeaveNothingBehind) {
  const v1::ScoreRequest request = MakeScoreRequest("pump", TinyRows(400, 3, 1));
  for (int i = 0; i < 100; ++i) {
    grpc::ClientContext context;
    v1::ScoreResponse response;
    grpc::CompletionQueue answers;
    const auto reader = stub_->AsyncScore(&context, request, &answers);
    grpc::Status status;
    reader->Finish(&response, &status, nullptr);
    context.TryCancel();
    void* tag = nullptr;
    bool ok = false;
    ASSERT_TRUE(answers.Next(&tag, &ok));
  }
  v1::ScoreResponse response;
  grpc::Status status;
  // The rows of the last ones may still wait.
  for (const absl::Time deadline = absl::Now() + absl::Seconds(30); absl::Now() < deadline;) {
    status = Score(request, &response);
    if (status.error_code() != grpc::RESOURCE_EXHAUSTED) break;
  }
  EXPECT_TRUE(status.ok()) << status.error_code() << " " << status.error_message();
  EXPECT_EQ(response.verdicts_size(), 400);
}

TEST(ScoreMetrics, EveryCallRowAndValueIsCounted) {
  RunningServer server;
  v1::ScoreResponse response;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(server.Score(MakeScoreRequest("pump", TinyRows(2, 3, 1)), &response).ok());
  EXPECT_EQ(server.Metric("astray_queue_rows"), 0);
  ASSERT_TRUE(server.Score(MakeScoreRequest("pump", TinyRows(600, 3, 1)), &response).ok());
  EXPECT_FALSE(server.Score(MakeScoreRequest("pump", {}), &response).ok());
  EXPECT_EQ(server.Metric("astray_requests_total{code=\"OK\",method=\"Score\"}"), 4);
  EXPECT_EQ(server.Metric("astray_requests_total{code=\"INVALID_ARGUMENT\",method=\"Score\"}"), 1);
  EXPECT_EQ(server.Metric("astray_request_duration_seconds_count{method=\"Score\"}"), 5);
  EXPECT_EQ(server.Metric("astray_scored_rows_total{model=\"pump\",version=\"1\"}"), 606);
  EXPECT_EQ(server.Metric("astray_score_count{model=\"pump\",version=\"1\"}"), 606);
  EXPECT_EQ(server.Metric("astray_values_total{model=\"pump\",version=\"1\"}"), 1818);
  EXPECT_EQ(server.Metric("astray_queue_duration_seconds_count"), 4);
  EXPECT_EQ(server.Metric("astray_queue_rows"), 0);
}

}  // namespace
}  // namespace astray
