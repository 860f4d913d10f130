// Repairs end when nobody waits for them any more.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "tests/testing/running_server.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

// A server of one lane and one worker, and a request whose repair takes it seconds.
class SlowRepairServer : public testing::Test {
 protected:
  SlowRepairServer() {
    WriteTinyArtifact(models_,
                      {.features = {"a", "b", "c", "d", "e", "f", "g", "h", "i"}, .hidden = {1024, 1024, 1024}});
    WriteTinyArtifact(models_, {.name = "valve"});
    ServerConfig config = RunningServer::DefaultConfig(models_);
    config.workers = 1;
    server_.emplace(config);
    rows_ = TinyRows(200, 9, 4);
    for (float& value : rows_) value += 30;
  }
  // Whether a call of `method` ends as one that nobody waits for. At a deadline the client may be the first to hang up.
  bool IsGivenUp(const std::string& method) {
    const auto count = [&](const std::string& code) {
      return server_->Metric("astray_requests_total{code=\"" + code + "\",method=\"" + method + "\"}");
    };
    const absl::Time give_up = absl::Now() + absl::Seconds(60);
    while (absl::Now() < give_up && !(count("OK") >= ok_ + 1)) {
      if (count("CANCELLED") >= 1 || count("DEADLINE_EXCEEDED") >= 1) return true;
      absl::SleepFor(absl::Milliseconds(5));
    }
    return false;
  }
  void AwaitScoring(double jobs) {
    const absl::Time give_up = absl::Now() + absl::Seconds(60);
    while (!(server_->Metric("astray_queue_duration_seconds_count") >= jobs)) {
      ASSERT_LT(absl::Now(), give_up);
      absl::SleepFor(absl::Milliseconds(1));
    }
  }

  const TemporaryFolder folder_;
  const std::filesystem::path models_ = folder_.path();
  std::optional<RunningServer> server_;
  std::vector<float> rows_;
  int ok_ = 0;  // calls that are to succeed
};

TEST_F(SlowRepairServer, StopsWhenTheDeadlinePasses) {
  v1::ScoreRequest request = MakeScoreRequest("pump", rows_);
  request.mutable_options()->set_counterfactual(8);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
  v1::ScoreResponse response;
  EXPECT_EQ(server_->detection().Score(&context, request, &response).error_code(), grpc::DEADLINE_EXCEEDED);
  EXPECT_TRUE(IsGivenUp("Score"));
}

TEST_F(SlowRepairServer, StopsWhenTheClientIsGoneAndTheLaneServesOthersMeanwhile) {
  v1::ScoreRequest request = MakeScoreRequest("pump", rows_);
  request.mutable_options()->set_counterfactual(8);
  grpc::ClientContext context;
  v1::ScoreResponse response, other;
  std::thread client(
      [&] { EXPECT_EQ(server_->detection().Score(&context, request, &response).error_code(), grpc::CANCELLED); });
  AwaitScoring(1);
  EXPECT_TRUE(server_->Score(MakeScoreRequest("valve", TinyRows(1, 3, 1)), &other).ok());
  ok_ = 1;
  context.TryCancel();
  client.join();
  EXPECT_TRUE(IsGivenUp("Score"));
}

TEST_F(SlowRepairServer, StopsWhenTheClientOfAStreamIsGone) {
  grpc::ClientContext context;
  const auto stream = server_->detection().ScoreStream(&context);
  v1::ScoreStreamRequest request;
  request.mutable_model()->set_name("pump");
  request.mutable_options()->set_counterfactual(8);
  request.mutable_values()->Add(rows_.begin(), rows_.end());
  ASSERT_TRUE(stream->Write(request));
  AwaitScoring(1);
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::CANCELLED);
  EXPECT_TRUE(IsGivenUp("ScoreStream"));
  // Through the one worker, behind what it was at.
  v1::ScoreResponse other;
  EXPECT_TRUE(server_->Score(MakeScoreRequest("valve", TinyRows(300, 3, 1)), &other).ok());
  EXPECT_EQ(server_->Metric("astray_scored_rows_total{model=\"pump\",version=\"1\"}"), 0);
}

}  // namespace
}  // namespace astray
