#include "server/calibrate_call.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/testing/running_server.h"

namespace astray {
namespace {

// A client's side of a call of Calibrate, its header sent.
struct Calibrating {
  explicit Calibrating(RunningServer& server) : writer(server.detection().Calibrate(&context, &response)) {
    v1::CalibrateRequest request;
    request.mutable_header()->mutable_model()->set_name("pump");
    request.mutable_header()->set_promote(true);
    writer->Write(request);
  }
  bool Write(const std::vector<float>& rows) {
    v1::CalibrateRequest request;
    request.mutable_rows()->mutable_values()->Add(rows.begin(), rows.end());
    return writer->Write(request);
  }
  grpc::Status Finish() {
    writer->WritesDone();
    return writer->Finish();
  }

  grpc::ClientContext context;
  v1::CalibrateResponse response;
  std::unique_ptr<grpc::ClientWriter<v1::CalibrateRequest>> writer;
};

const char kEnded[] = "astray_request_duration_seconds_count{method=\"Calibrate\"}";
const char kRefused[] = "astray_requests_total{code=\"RESOURCE_EXHAUSTED\",method=\"Calibrate\"}";

TEST(CalibrateCall, MoreThanMayRunAreRefusedUntilOneEnds) {
  RunningServer server;
  std::vector<std::unique_ptr<Calibrating>> calls;
  size_t refused = 0;
  for (size_t i = 0; i < DetectionService::kMaxCalibrations + 3; ++i) {
    auto call = std::make_unique<Calibrating>(server);
    if (i < DetectionService::kMaxCalibrations) {
      calls.push_back(std::move(call));
      // Scored through the same connection and lane: the call before it was taken.
      v1::ScoreResponse scored;
      ASSERT_TRUE(server.Score(MakeScoreRequest("pump", TinyRows(1, 3, 1)), &scored).ok());
      continue;
    }
    const grpc::Status status = call->Finish();
    EXPECT_EQ(status.error_code(), grpc::RESOURCE_EXHAUSTED);
    EXPECT_EQ(status.error_message(), "8 calibrations are running; retry later");
    ++refused;
  }
  EXPECT_EQ(server.Metric(kRefused), static_cast<double>(refused));
  for (const std::unique_ptr<Calibrating>& call : calls) {
    EXPECT_TRUE(call->Write(TinyRows(300, 3, 7)));
    EXPECT_TRUE(call->Finish().ok());
    // Its place is free once its reply is here.
    Calibrating next(server);
    EXPECT_TRUE(next.Write(TinyRows(300, 3, 8)));
    const grpc::Status status = next.Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_EQ(server.Metric("astray_requests_total{code=\"OK\",method=\"Calibrate\"}"), 16);
  EXPECT_EQ(server.Metric(kEnded), 16. + 3);
}

// The end of a stream whose client is gone looks like that of a stream that is complete.
TEST(CalibrateCall, AClientThatDiesPromotesNothing) {
  RunningServer server;
  for (int i = 0; i < 30; ++i) {
    Calibrating call(server);
    ASSERT_TRUE(call.Write(TinyRows(300, 3, 7)));
    while (server.Metric("astray_queue_duration_seconds_count") < i + 1) {
    }  // its rows are scored
    call.context.TryCancel();
    EXPECT_EQ(call.writer->Finish().error_code(), grpc::CANCELLED);
    while (server.Metric(kEnded) < i + 1) {
    }  // its place is free
  }
  server.server().Drain();
  EXPECT_FALSE(std::filesystem::exists(server.models() / "pump/calibrations"));
}

TEST(CalibrateCall, ADrainWaitsForItsClientAsLongAsItMay) {
  const auto models = MakeTestFolder();
  WriteTinyArtifact(models);
  ServerConfig config = RunningServer::DefaultConfig(models);
  config.drain_timeout = absl::Milliseconds(50);
  RunningServer server(config);
  Calibrating call(server);
  ASSERT_TRUE(call.Write(TinyRows(300, 3, 7)));
  v1::ScoreResponse scored;
  ASSERT_TRUE(server.Score(MakeScoreRequest("pump", TinyRows(1, 3, 1)), &scored).ok());  // it is taken
  server.server().Drain();
  EXPECT_FALSE(call.Finish().ok());
  EXPECT_FALSE(std::filesystem::exists(models / "pump/calibrations"));
}

TEST(CalibrateCall, ADrainLetsItFinish) {
  RunningServer server;
  Calibrating call(server);
  ASSERT_TRUE(call.Write(TinyRows(300, 3, 7)));
  v1::ScoreResponse scored;
  ASSERT_TRUE(server.Score(MakeScoreRequest("pump", TinyRows(1, 3, 1)), &scored).ok());  // it is taken
  std::thread drain([&] { server.server().Drain(); });
  grpc::Status refused;
  do {
    refused = server.Score(MakeScoreRequest("pump", TinyRows(1, 3, 1)), &scored);
  } while (refused.ok());
  EXPECT_EQ(refused.error_code(), grpc::UNAVAILABLE);
  EXPECT_TRUE(call.Write(TinyRows(300, 3, 8)));
  const grpc::Status status = call.Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(call.response.promoted());
  drain.join();
}

}  // namespace
}  // namespace astray
