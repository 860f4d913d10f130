#include "server/shadow.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "absl/synchronization/notification.h"
#include "engine/detect/artifact.h"
#include "tests/testing/running_server.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

using testing::HasSubstr;
using testing::Not;

std::shared_ptr<const Detector> MakeDetector(const TinyDetectorOptions& options, int64_t version) {
  const TemporaryFolder folder;
  return *ReadArtifact(WriteTinyArtifact(folder.path(), options, version));
}

// Normal rows, of which every seventh is not.
std::vector<float> MixedRows(size_t n, uint64_t seed) {
  std::vector<float> rows = TinyRows(n, 3, seed);
  for (size_t i = 0; i < n; i += 7) rows[3 * i + i % 3] += 1.5f;
  return rows;
}

struct Expected {
  uint64_t rows = 0, only_candidate = 0, only_live = 0;
  double sum = 0, largest = 0;
};

// Over whole rows at once, verdicts that end in the same row.
Expected Compare(const Detector& live, const Detector& candidate, std::span<const float> rows) {
  ScoreResult a, b;
  EXPECT_TRUE(live.Score(rows, {}, &a).ok());
  EXPECT_TRUE(candidate.Score(rows, {}, &b).ok());
  const size_t ahead = b.verdicts.size() - a.verdicts.size();
  Expected expected;
  for (size_t i = 0; i < a.verdicts.size(); ++i) {
    const Verdict& x = a.verdicts[i];
    const Verdict& y = b.verdicts[i + ahead];
    if (x.state != Verdict::State::kScored || y.state != Verdict::State::kScored) continue;
    ++expected.rows;
    if (y.anomalous && !x.anomalous) ++expected.only_candidate;
    if (x.anomalous && !y.anomalous) ++expected.only_live;
    const double difference = std::abs(static_cast<double>(x.score) - y.score);
    expected.sum += difference;
    expected.largest = std::max(expected.largest, difference);
  }
  return expected;
}

void ExpectSame(const v1::ShadowSummary& summary, const Expected& expected) {
  EXPECT_EQ(summary.rows(), expected.rows);
  EXPECT_EQ(summary.only_candidate_anomalous(), expected.only_candidate);
  EXPECT_EQ(summary.only_live_anomalous(), expected.only_live);
  const auto rows = static_cast<double>(expected.rows);
  EXPECT_DOUBLE_EQ(summary.disagreement(), static_cast<double>(expected.only_candidate + expected.only_live) / rows);
  EXPECT_NEAR(summary.mean_score_difference(), expected.sum / rows, 1e-12 * expected.sum);
  EXPECT_EQ(summary.max_score_difference(), expected.largest);
  EXPECT_EQ(summary.dropped_rows(), 0u);
}

TEST(Shadow, CountsWhatScoringBothByThemselvesGives) {
  Metrics metrics;
  for (const uint32_t candidate_window : {1u, 3u}) {
    const auto live = MakeDetector({.window = 3, .seed = 1}, 1);
    const auto candidate = MakeDetector({.window = candidate_window, .seed = 2}, 2);
    ASSERT_TRUE(Shadow::Check(*live, *candidate).ok());
    BackgroundLane lane(1 << 20);
    const auto shadow = std::make_shared<Shadow>(live, candidate, &lane, metrics.ForShadow("pump", 2));
    std::vector<float> rows = MixedRows(500, 5);
    for (size_t i = 300; i < 310; ++i) std::fill_n(rows.begin() + 3 * static_cast<std::ptrdiff_t>(i), 3, NAN);
    ScoreResult result;
    ASSERT_TRUE(live->Score(rows, {}, &result).ok());
    // In pieces, as tiles of a job.
    for (size_t first = 0; first < result.verdicts.size(); first += 64) {
      const size_t count = std::min<size_t>(64, result.verdicts.size() - first);
      shadow->Offer(std::span(rows).subspan(3 * first, 3 * (count + 2)), "", result, first, count);
    }
    lane.AwaitIdle();
    const Expected expected = Compare(*live, *candidate, rows);
    EXPECT_GT(expected.only_candidate + expected.only_live, 10u);
    EXPECT_LT(expected.rows, result.verdicts.size());
    ExpectSame(shadow->Summary(), expected);
    EXPECT_GT(shadow->Summary().candidate_seconds_per_row(), 0);
    EXPECT_GT(shadow->Summary().live_seconds_per_row(), 0);
  }
  EXPECT_THAT(metrics.Serialize(), Not(HasSubstr("astray_shadow")));  // they go with the shadow
}

TEST(Shadow, DropsAndCountsWhatDoesNotFitAndNeverWaits) {
  Metrics metrics;
  const auto live = MakeDetector({.seed = 1}, 1);
  const auto candidate = MakeDetector({.seed = 2}, 2);
  BackgroundLane lane(2 * (12 + 12 + 64) + 10);  // two offers of four rows, each with what it takes itself
  const auto shadow = std::make_shared<Shadow>(live, candidate, &lane, metrics.ForShadow("pump", 2));
  absl::Notification go, begun;
  ASSERT_TRUE(lane.TryAdd(0, [&] {
    begun.Notify();
    go.WaitForNotification();
  }));
  begun.WaitForNotification();
  const std::vector<float> rows = MixedRows(16, 5);
  ScoreResult result;
  ASSERT_TRUE(live->Score(rows, {}, &result).ok());
  for (size_t first = 0; first < 16; first += 4) {
    shadow->Offer(std::span(rows).subspan(3 * first, 12), "", result, first, 4);
  }
  EXPECT_EQ(shadow->Summary().dropped_rows(), 8u);
  EXPECT_EQ(shadow->Summary().rows(), 0u);
  EXPECT_THAT(metrics.Serialize(), HasSubstr("astray_shadow_dropped_rows_total{model=\"pump\",version=\"2\"} 8\n"));
  go.Notify();
  lane.AwaitIdle();
  EXPECT_EQ(shadow->Summary().rows(), 8u);
}

TEST(Shadow, RefusesWhatCannotScoreTheSameRows) {
  const auto live = MakeDetector({.window = 3}, 1);
  const auto refusal = [&](const TinyDetectorOptions& options, int64_t version) {
    const absl::Status status = Shadow::Check(*live, *MakeDetector(options, version));
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    return std::string(status.message());
  };
  EXPECT_EQ(refusal({.window = 4}, 2),
            "model 'pump': version 2 epoch 1 cannot be the shadow of version 1 epoch 1: expected a window of at most 3 "
            "rows, got 4");
  EXPECT_THAT(refusal({.features = {"pressure", "flow", "temperature"}, .window = 3}, 2),
              HasSubstr("it has other features"));
  EXPECT_THAT(refusal({.window = 3}, 1), HasSubstr("it is live"));
}

// The whole way: traffic of every kind, describe, metrics, the gate, a restart.
class ShadowServer : public testing::Test {
 protected:
  ShadowServer() {
    WriteTinyArtifact(server_.models(), {.seed = 2});
    EXPECT_TRUE(registry().Load("pump").ok());
    EXPECT_TRUE(registry().PromoteVersion("pump", 1, nullptr).ok());
  }
  DetectorRegistry& registry() { return server_.server().registry(); }
  static v1::ModelRef Pump(int64_t version = 0) {
    v1::ModelRef ref;
    ref.set_name("pump");
    if (version != 0) ref.set_version(version);
    return ref;
  }
  grpc::Status SetShadow(const v1::SetShadowRequest& request, v1::SetShadowResponse* response) {
    grpc::ClientContext context;
    return server_.model().SetShadow(&context, request, response);
  }
  void SetVersion(int64_t version) {
    v1::SetShadowRequest request;
    request.set_name("pump");
    request.set_version(version);
    v1::SetShadowResponse response;
    const grpc::Status status = SetShadow(request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.shadow().version(), version);
  }
  void Send(std::span<const float> rows, int64_t version = 0) {
    v1::ScoreRequest request = MakeScoreRequest("pump", rows);
    if (version != 0) request.mutable_model()->set_version(version);
    v1::ScoreResponse response;
    ASSERT_TRUE(server_.Score(request, &response).ok());
    registry().AwaitShadows();
  }
  void Stream(std::span<const float> rows, bool replay) {
    grpc::ClientContext context;
    const auto stream = server_.detection().ScoreStream(&context);
    v1::ScoreStreamRequest request;
    *request.mutable_model() = Pump();
    request.mutable_values()->Add(rows.begin(), rows.end());
    request.set_replay(replay);
    ASSERT_TRUE(stream->Write(request));
    stream->WritesDone();
    v1::ScoreResponse response;
    while (stream->Read(&response)) {
    }
    ASSERT_TRUE(stream->Finish().ok());
    registry().AwaitShadows();
  }
  v1::ShadowSummary Summary() { return registry().Describe(Pump())->shadow(); }
  grpc::Status PromoteVersion(int64_t version, double max_disagreement, uint64_t min_rows) {
    v1::PromoteVersionRequest request;
    request.set_name("pump");
    request.set_version(version);
    request.mutable_gate()->set_max_disagreement(max_disagreement);
    request.mutable_gate()->set_min_rows(min_rows);
    grpc::ClientContext context;
    v1::CalibrationChange change;
    return server_.model().PromoteVersion(&context, request, &change);
  }

  RunningServer server_;
};

TEST_F(ShadowServer, LiveTrafficIsComparedAndNothingElse) {
  const std::vector<float> rows = MixedRows(700, 5);
  Send(rows);  // before it is set
  SetVersion(2);
  EXPECT_EQ(Summary().rows(), 0u);
  Send(rows);
  ExpectSame(Summary(), Compare(*registry().Find(Pump(1))->detector, *registry().Find(Pump(2))->detector, rows));
  EXPECT_EQ(server_.Metric("astray_shadow_rows_total{model=\"pump\",version=\"2\"}"), 700);
  EXPECT_EQ(server_.Metric("astray_shadow_disagreements_total{anomalous=\"candidate\",model=\"pump\",version=\"2\"}"),
            static_cast<double>(Summary().only_candidate_anomalous()));
  Send(std::span(rows).first(30), 1);  // the live version by its number
  EXPECT_EQ(Summary().rows(), 710u);
  Send(std::span(rows).first(30), 2);
  EXPECT_EQ(Summary().rows(), 710u);
  Stream(std::span(rows).first(60), false);  // 20 rows
  EXPECT_EQ(Summary().rows(), 730u);
  Stream(std::span(rows).first(60), true);  // an earlier stream's
  EXPECT_EQ(Summary().rows(), 730u);
  SetVersion(2);  // begins anew
  EXPECT_EQ(Summary().rows(), 0u);
  v1::SetShadowRequest off;
  off.set_name("pump");
  v1::SetShadowResponse response;
  ASSERT_TRUE(SetShadow(off, &response).ok());
  EXPECT_FALSE(response.has_shadow());
  Send(rows);
  EXPECT_FALSE(registry().Describe(Pump())->has_shadow());
  EXPECT_THAT(server_.Metrics(), Not(HasSubstr("astray_shadow")));
}

TEST_F(ShadowServer, ACalibrationOfTheLiveVersionCanBeTheCandidate) {
  v1::CalibrateHeader header;
  *header.mutable_model() = Pump(1);
  header.set_false_positive_rate(0.3);
  v1::CalibrateResponse calibrated;
  ASSERT_TRUE(server_.Calibrate(header, TinyRows(100, 3, 9), &calibrated).ok());
  v1::SetShadowRequest request;
  request.set_name("pump");
  request.set_epoch(2);
  v1::SetShadowResponse response;
  ASSERT_TRUE(SetShadow(request, &response).ok());
  EXPECT_EQ(response.shadow().epoch(), 2u);
  EXPECT_EQ(response.shadow().live_epoch(), 1u);
  const std::vector<float> rows = MixedRows(300, 5);
  Send(rows);
  ScoreResult result;
  const auto live = registry().Find(Pump())->detector;
  ASSERT_TRUE(live->Score(rows, {}, &result).ok());
  const auto flagged = std::ranges::count_if(result.verdicts, [&](const Verdict& verdict) {
    return (verdict.error > calibrated.calibration().threshold()) != verdict.anomalous;
  });
  EXPECT_GT(flagged, 0);
  EXPECT_EQ(Summary().only_candidate_anomalous() + Summary().only_live_anomalous(), static_cast<uint64_t>(flagged));
  // Promoting it ends the shadow.
  ASSERT_TRUE(registry().Promote(Pump(), 2, nullptr).ok());
  EXPECT_FALSE(registry().Describe(Pump())->has_shadow());
  request.set_epoch(7);
  EXPECT_EQ(SetShadow(request, &response).error_code(), grpc::NOT_FOUND);
  request.set_epoch(2);
  const grpc::Status status = SetShadow(request, &response);
  EXPECT_EQ(status.error_code(), grpc::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("it is live"));
  EXPECT_FALSE(registry().Describe(Pump())->has_shadow());
}

TEST_F(ShadowServer, AGateHoldsBackWhatTheShadowHasNotShown) {
  grpc::Status status = PromoteVersion(2, 0.5, 10);
  EXPECT_EQ(status.error_code(), grpc::FAILED_PRECONDITION);
  EXPECT_EQ(status.error_message(), "model 'pump': gate: expected version 2 in shadow, got none");
  SetVersion(2);
  const std::vector<float> rows = MixedRows(700, 5);
  EXPECT_THAT(PromoteVersion(2, 1, 0).error_message(), HasSubstr("over at least 1 rows, got 0 over 0 rows"));
  Send(rows);
  const double disagreement = Summary().disagreement();
  ASSERT_GT(disagreement, 0);
  status = PromoteVersion(2, disagreement / 2, 10);
  EXPECT_EQ(status.error_code(), grpc::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("over 700 rows ("));
  EXPECT_EQ(PromoteVersion(2, 1, 701).error_code(), grpc::FAILED_PRECONDITION);
  EXPECT_EQ(PromoteVersion(2, 1.5, 1).error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(PromoteVersion(2, NAN, 1).error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(registry().Find(Pump())->detector->model().version, 1);
  EXPECT_TRUE(PromoteVersion(2, disagreement, 700).ok());
  EXPECT_EQ(registry().Find(Pump())->detector->model().version, 2);
  EXPECT_FALSE(registry().Describe(Pump())->has_shadow());
}

TEST_F(ShadowServer, SurvivesARestartAndSaysWhyNothingIsCompared) {
  SetVersion(2);
  Send(MixedRows(20, 5));
  Metrics metrics;
  DetectorRegistry again(server_.models(), &metrics);
  ASSERT_TRUE(again.Poll().ok());
  EXPECT_EQ(again.Describe(Pump())->shadow().version(), 2);
  EXPECT_EQ(again.Describe(Pump())->shadow().live_version(), 1);
  EXPECT_EQ(again.Describe(Pump())->shadow().rows(), 0u);
  ASSERT_TRUE(again.Unload("pump", 2).ok());
  EXPECT_THAT(again.Describe(Pump())->shadow().error(), HasSubstr("version 2: unloaded"));
  EXPECT_EQ(again.Find(Pump())->shadow, nullptr);
  ASSERT_TRUE(again.Load("pump").ok());
  EXPECT_EQ(again.Describe(Pump())->shadow().error(), "");
  EXPECT_NE(again.Find(Pump())->shadow, nullptr);
  // A poll that finds nothing new leaves what was counted.
  Send(MixedRows(20, 5));
  ASSERT_TRUE(registry().Poll().ok());
  EXPECT_EQ(Summary().rows(), 40u);
}

}  // namespace
}  // namespace astray
