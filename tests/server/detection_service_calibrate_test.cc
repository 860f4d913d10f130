// Calibrate: what it makes of rows, what it refuses, and what promoting does to replies.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/detection_service.h"
#include "tests/server/detection_service_fixture.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

using testing::HasSubstr;

TEST_F(DetectionServiceTest, CalibrateMovesTheThresholdAndSaysWhatChanged) {
  std::vector<float> rows = TinyRows(300, 3, 77);
  for (float& value : rows) value *= 1.05f;
  v1::CalibrateHeader header;
  header.mutable_model()->set_name("pump");
  header.set_false_positive_rate(0.05);
  v1::CalibrateResponse candidate, promoted;
  grpc::Status status = server_.Calibrate(header, rows, &candidate);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(candidate.calibration().epoch(), 2u);
  EXPECT_EQ(candidate.calibration().samples(), 300u);
  EXPECT_FALSE(candidate.promoted());
  header.set_promote(true);
  status = server_.Calibrate(header, rows, &promoted);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(promoted.calibration().epoch(), 3u);
  EXPECT_TRUE(promoted.calibration().live());
  EXPECT_EQ(promoted.calibration().threshold(), candidate.calibration().threshold());

  const auto detector = server_.server().registry().Find(header.model())->detector;
  auto errors = *detector->Errors(rows);
  const auto flagged =
      std::count_if(errors.begin(), errors.end(), [&](float error) { return error > candidate.previous_threshold(); });
  EXPECT_EQ(candidate.flagged_ratio_before(), static_cast<double>(flagged) / 300);
  EXPECT_EQ(Calibration::Create(errors, 0.05, {})->threshold(), candidate.calibration().threshold());
  v1::ScoreResponse response;
  ASSERT_TRUE(server_.Score(MakeScoreRequest("pump", rows), &response).ok());
  EXPECT_EQ(response.provenance().calibration_epoch(), 3u);
  EXPECT_EQ(server_.Metric("astray_threshold{model=\"pump\",version=\"1\"}"), promoted.calibration().threshold());
}

// Rows of segments and a message for each.
grpc::Status CalibrateParts(RunningServer& server, const v1::CalibrateHeader& header,
                            const std::vector<std::pair<std::string, std::vector<float>>>& parts,
                            v1::CalibrateResponse* response) {
  grpc::ClientContext context;
  const auto writer = server.detection().Calibrate(&context, response);
  v1::CalibrateRequest request;
  *request.mutable_header() = header;
  writer->Write(request);
  for (const auto& [segment, rows] : parts) {
    request.mutable_rows()->Clear();
    request.mutable_rows()->set_segment(segment);
    request.mutable_rows()->mutable_values()->Add(rows.begin(), rows.end());
    writer->Write(request);
  }
  writer->WritesDone();
  return writer->Finish();
}

std::vector<float> Scaled(std::vector<float> rows, float factor) {
  for (float& value : rows) value *= factor;
  return rows;
}

TEST_F(DetectionServiceTest, SegmentsHaveThresholdsOfTheirOwn) {
  v1::CalibrateHeader header;
  header.mutable_model()->set_name("pump");
  header.set_false_positive_rate(0.05);
  header.set_promote(true);
  const std::vector<float> idle = TinyRows(100, 3, 7), load = Scaled(TinyRows(200, 3, 8), 1.4f);
  v1::CalibrateResponse reply;
  grpc::Status status =
      CalibrateParts(server_, header, {{"idle", idle}, {"load", load}, {"rare", TinyRows(5, 3, 9)}}, &reply);
  ASSERT_TRUE(status.ok()) << status.error_message();
  const v1::CalibrationSummary& made = reply.calibration();
  EXPECT_EQ(made.samples(), 305u);
  ASSERT_EQ(made.segments_size(), 3);
  const auto detector = server_.server().registry().Find(header.model())->detector;
  const std::vector<const std::vector<float>*> rows = {&idle, &load};
  for (int i = 0; i < 2; ++i) {
    const v1::SegmentSummary& segment = made.segments(i);
    EXPECT_TRUE(segment.own());
    const auto errors = *detector->Errors(*rows[static_cast<size_t>(i)]);
    EXPECT_EQ(segment.samples(), errors.size());
    const auto alone = *Calibration::Create(errors, 0.05, {});
    EXPECT_EQ(segment.threshold(), alone.threshold());
    v1::ScoreRequest request = MakeScoreRequest("pump", *rows[static_cast<size_t>(i)]);
    request.set_segment(segment.name());
    v1::ScoreResponse scored;
    ASSERT_TRUE(server_.Score(request, &scored).ok());
    for (size_t row = 0; row < errors.size(); ++row) {
      const v1::Verdict& verdict = scored.verdicts(static_cast<int>(row));
      EXPECT_EQ(verdict.threshold(), segment.threshold());
      EXPECT_EQ(verdict.error(), errors[row]);
      EXPECT_EQ(verdict.score(), static_cast<float>(errors[row] / segment.threshold()));
      EXPECT_EQ(verdict.p_value(), alone.PValue(errors[row]));
    }
    EXPECT_EQ(scored.provenance().threshold(), made.threshold());
  }
  EXPECT_EQ(made.segments(2).name(), "rare");
  EXPECT_FALSE(made.segments(2).own());
  for (const char* name : {"", "rare", "never seen"}) {
    v1::ScoreRequest request = MakeScoreRequest("pump", idle);
    request.set_segment(name);
    v1::ScoreResponse scored;
    ASSERT_TRUE(server_.Score(request, &scored).ok());
    EXPECT_EQ(scored.verdicts(0).threshold(), made.threshold()) << name;
  }
  v1::ScoreRequest request = MakeScoreRequest("pump", idle);
  request.set_segment(std::string(257, 'x'));
  v1::ScoreResponse scored;
  status = server_.Score(request, &scored);
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "segment: expected at most 256 bytes, got 257");
  status = CalibrateParts(server_, header, {{std::string(257, 'x'), idle}}, &reply);
  EXPECT_EQ(status.error_message(), "rows.segment: expected at most 256 bytes, got 257");
}

TEST_F(DetectionServiceTest, AMergedCalibrationIsOfBothRows) {
  v1::CalibrateHeader header;
  header.mutable_model()->set_name("pump");
  header.set_false_positive_rate(0.05);
  header.set_promote(true);
  const std::vector<float> first = TinyRows(150, 3, 7), second = Scaled(TinyRows(250, 3, 8), 1.3f);
  v1::CalibrateResponse reply;
  ASSERT_TRUE(CalibrateParts(server_, header, {{"a", first}}, &reply).ok());
  header.set_mode(v1::CalibrateHeader::MERGE);
  ASSERT_TRUE(CalibrateParts(server_, header, {{"a", second}, {"b", first}}, &reply).ok());
  const auto detector = server_.server().registry().Find(header.model())->detector;
  std::vector<float> errors;
  for (const auto* rows : {&first, &second, &first}) {
    const auto part = *detector->Errors(*rows);
    errors.insert(errors.end(), part.begin(), part.end());
  }
  EXPECT_EQ(reply.calibration().samples(), 550u);
  EXPECT_EQ(reply.calibration().threshold(), Calibration::Create(errors, 0.05, {})->threshold());
  ASSERT_EQ(reply.calibration().segments_size(), 2);
  EXPECT_EQ(reply.calibration().segments(0).samples(), 400u);
  EXPECT_EQ(reply.calibration().segments(1).samples(), 150u);
  // Of the rows that came now: those above the threshold of their segment.
  const auto new_part = std::span(errors).subspan(150);
  size_t flagged = 0;
  for (size_t i = 0; i < new_part.size(); ++i) {
    flagged += new_part[i] > reply.calibration().segments(i < 250 ? 0 : 1).threshold() ? 1 : 0;
  }
  EXPECT_DOUBLE_EQ(reply.flagged_ratio_after(), static_cast<double>(flagged) / 400);
}

TEST_F(DetectionServiceTest, ATailServesARateThatTheRowsDoNotResolve) {
  v1::CalibrateHeader header;
  header.mutable_model()->set_name("pump");
  header.set_false_positive_rate(2e-4);
  v1::CalibrateResponse reply;
  grpc::Status status = server_.Calibrate(header, TinyRows(200, 3, 7), &reply);
  EXPECT_EQ(status.error_code(), grpc::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("takes at least 4999 calibration vectors, got 200"));
  // Each row alone: no neighbour is like it.
  std::vector<float> rows;
  for (uint64_t i = 0; i < 3000; ++i) {
    const auto row = TinyRows(1, 3, 1000 + i);
    rows.insert(rows.end(), row.begin(), row.end());
  }
  status = server_.Calibrate(header, rows, &reply);
  ASSERT_TRUE(status.ok()) << status.error_message();
  const v1::CalibrationSummary& made = reply.calibration();
  EXPECT_GE(made.tail().excesses(), 50u);
  EXPECT_GE(made.tail().p_value(), 0.1);
  EXPECT_GT(made.threshold(), made.tail().start());
  EXPECT_LE(reply.flagged_ratio_after(), 3.0 / 3000) << "0.6 rows are to be expected";
  EXPECT_LT(made.autocorrelation_time(), 1.5);
  EXPECT_GT(made.effective_samples(), 2000);
}

TEST_F(DetectionServiceTest, RowsWithMissingValuesAreJudgedByTheirLike) {
  v1::CalibrateHeader header;
  header.mutable_model()->set_name("pump");
  header.set_false_positive_rate(0.02);
  header.set_promote(true);
  const std::vector<float> rows = TinyRows(2000, 3, 7);
  v1::CalibrateResponse reply;
  ASSERT_TRUE(server_.Calibrate(header, rows, &reply).ok());
  const v1::CalibrationSummary& made = reply.calibration();
  EXPECT_EQ(made.samples(), 2000u) << "rows with values taken out do not count";
  // Of three values one or two can be missing: a third, two thirds.
  ASSERT_EQ(made.missing_levels_size(), 2);
  EXPECT_EQ(made.missing_levels(0).above_share(), 0.25);
  EXPECT_EQ(made.missing_levels(1).above_share(), 0.5);
  EXPECT_EQ(made.missing_levels(0).samples(), 2000u);
  std::vector<float> gaps = TinyRows(5000, 3, 8);
  for (size_t i = 0; i < gaps.size(); i += 3) gaps[i + i / 3 % 3] = std::nanf("");
  v1::ScoreResponse scored, complete;
  ASSERT_TRUE(server_.Score(MakeScoreRequest("pump", gaps), &scored).ok());
  int flagged = 0;
  for (const v1::Verdict& verdict : scored.verdicts()) {
    EXPECT_EQ(verdict.threshold(), made.missing_levels(0).threshold());
    flagged += verdict.anomalous() ? 1 : 0;
  }
  EXPECT_NEAR(flagged / 5000.0, 0.02, 0.015);
  ASSERT_TRUE(server_.Score(MakeScoreRequest("pump", rows), &complete).ok());
  for (const v1::Verdict& verdict : complete.verdicts()) EXPECT_EQ(verdict.threshold(), made.threshold());
  // The same rows give the same calibration.
  v1::CalibrateResponse again;
  ASSERT_TRUE(server_.Calibrate(header, rows, &again).ok());
  EXPECT_EQ(again.calibration().missing_levels(0).threshold(), made.missing_levels(0).threshold());
  EXPECT_EQ(again.calibration().missing_levels(1).threshold(), made.missing_levels(1).threshold());
}

TEST_F(DetectionServiceTest, OfABlockOneRowCounts) {
  v1::CalibrateHeader header;
  header.mutable_model()->set_name("pump");
  header.set_false_positive_rate(0.05);
  header.set_block_rows(10);
  v1::CalibrateResponse reply;
  ASSERT_TRUE(server_.Calibrate(header, TinyRows(2000, 3, 7), &reply).ok());
  EXPECT_EQ(reply.calibration().samples(), 200u);
  EXPECT_EQ(reply.calibration().block_rows(), 10u);
  header.set_block_rows(1'000'001);
  EXPECT_EQ(server_.Calibrate(header, TinyRows(20, 3, 7), &reply).error_message(),
            "header.block_rows: expected at most 1000000, got 1000001");
}

TEST_F(DetectionServiceTest, BadCalibrationsKeepNothing) {
  v1::CalibrateHeader header;
  header.mutable_model()->set_name("pump");
  header.set_promote(true);
  v1::CalibrateResponse response;
  const auto expect = [&](const grpc::Status& status, grpc::StatusCode code, const std::string& message) {
    EXPECT_EQ(status.error_code(), code);
    EXPECT_THAT(status.error_message(), HasSubstr(message));
  };
  expect(server_.Calibrate(header, TinyRows(8, 3, 1), &response), grpc::FAILED_PRECONDITION, "takes at least 49");
  expect(server_.Calibrate(header, TinyRows(4, 2, 1), &response), grpc::INVALID_ARGUMENT,
         "rows.values: expected a multiple of 3");
  const std::vector<float> missing(30, std::nanf(""));
  expect(server_.Calibrate(header, missing, &response), grpc::FAILED_PRECONDITION,
         "rows: expected at least one window");
  header.set_false_positive_rate(1.5);
  expect(server_.Calibrate(header, TinyRows(8, 3, 1), &response), grpc::INVALID_ARGUMENT,
         "header.false_positive_rate: expected a number in (0, 1), got 1.5");
  header.clear_false_positive_rate();
  header.mutable_model()->set_name("pmp");
  expect(server_.Calibrate(header, TinyRows(8, 3, 1), &response), grpc::NOT_FOUND, "model 'pmp'");
  {
    grpc::ClientContext context;
    const auto writer = server_.detection().Calibrate(&context, &response);
    v1::CalibrateRequest request;
    request.mutable_rows()->add_values(1);
    writer->Write(request);
    writer->WritesDone();
    expect(writer->Finish(), grpc::INVALID_ARGUMENT, "part: expected the header first, got rows");
  }
  {
    grpc::ClientContext context;
    const auto writer = server_.detection().Calibrate(&context, &response);
    writer->WritesDone();
    expect(writer->Finish(), grpc::INVALID_ARGUMENT, "part: expected a header, got an empty stream");
  }
  EXPECT_FALSE(std::filesystem::exists(server_.models() / "pump/calibrations"));
}

TEST_F(DetectionServiceTest, ACancelledCalibrationKeepsNothing) {
  const std::vector<float> rows = TinyRows(300, 3, 7);
  for (int i = 0; i < 20; ++i) {
    grpc::ClientContext context;
    v1::CalibrateResponse response;
    const auto writer = server_.detection().Calibrate(&context, &response);
    v1::CalibrateRequest request;
    request.mutable_header()->mutable_model()->set_name("pump");
    request.mutable_header()->set_promote(true);
    writer->Write(request);
    request.mutable_rows()->mutable_values()->Add(rows.begin(), rows.end());
    writer->Write(request);
    context.TryCancel();
    EXPECT_EQ(writer->Finish().error_code(), grpc::CANCELLED);
  }
  server_.server().Drain();
  EXPECT_FALSE(std::filesystem::exists(server_.models() / "pump/calibrations"));
}

TEST(DetectionServiceLimits, MoreCalibrationRowsThanAllowedAreRefused) {
  const TemporaryFolder temporary;
  const std::filesystem::path& models = temporary.path();
  WriteTinyArtifact(models);
  ServerConfig config = RunningServer::DefaultConfig(models);
  config.max_calibration_rows = 100;
  config.queue_rows = 50;
  RunningServer server(config);
  v1::CalibrateHeader header;
  header.mutable_model()->set_name("pump");
  v1::CalibrateResponse response;
  EXPECT_TRUE(server.Calibrate(header, TinyRows(100, 3, 1), &response).ok());  // the queue's cap is not for these
  const grpc::Status status = server.Calibrate(header, TinyRows(101, 3, 1), &response);
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("rows: expected at most 100 in one calibration"));
  v1::ScoreResponse scored;
  const grpc::Status too_many = server.Score(MakeScoreRequest("pump", TinyRows(51, 3, 1)), &scored);
  EXPECT_EQ(too_many.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_THAT(too_many.error_message(), HasSubstr("values: expected at most 50 rows in one request, got 51"));
}

TEST_F(DetectionServiceTest, WhilePromotingEveryReplyIsOfOneCalibration) {
  v1::CalibrateHeader header;
  header.mutable_model()->set_name("pump");
  std::map<uint64_t, double> thresholds;
  {
    v1::ScoreResponse first;
    ASSERT_TRUE(server_.Score(MakeScoreRequest("pump", TinyRows(1, 3, 1)), &first).ok());
    thresholds[1] = first.provenance().threshold();
  }
  for (const float factor : {1.1f, 1.3f}) {
    std::vector<float> rows = TinyRows(100, 3, 3);
    for (float& value : rows) value *= factor;
    v1::CalibrateResponse response;
    ASSERT_TRUE(server_.Calibrate(header, rows, &response).ok());
    thresholds[response.calibration().epoch()] = response.calibration().threshold();
  }
  std::atomic<bool> stop{false};
  std::atomic<int> mixed{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back([&] {
      while (!stop) {
        v1::ScoreResponse response;
        if (!server_.Score(MakeScoreRequest("pump", TinyRows(300, 3, 8)), &response).ok()) ++mixed;
        const v1::Provenance& from = response.provenance();
        if (thresholds.at(from.calibration_epoch()) != from.threshold()) ++mixed;
        for (const v1::Verdict& verdict : response.verdicts()) {
          if (verdict.score() != static_cast<float>(verdict.error() / from.threshold())) ++mixed;
        }
      }
    });
  }
  for (int i = 0; i < 60; ++i) {
    v1::PromoteCalibrationRequest request;
    *request.mutable_model() = header.model();
    request.set_epoch(static_cast<uint64_t>(1 + i % 3));
    v1::CalibrationChange change;
    grpc::ClientContext context;
    ASSERT_TRUE(server_.model().PromoteCalibration(&context, request, &change).ok());
  }
  stop = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(mixed, 0);
}

}  // namespace
}  // namespace astray
