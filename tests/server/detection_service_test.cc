#include "server/detection_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <thread>

#include "tests/testing/running_server.h"

namespace astray {
namespace {

using testing::HasSubstr;

class DetectionServiceTest : public testing::Test {
 protected:
  void ExpectError(const v1::ScoreRequest& request, grpc::StatusCode code, const std::string& message) {
    v1::ScoreResponse response;
    const grpc::Status status = server_.Score(request, &response);
    EXPECT_EQ(status.error_code(), code);
    EXPECT_THAT(status.error_message(), HasSubstr(message));
  }

  RunningServer server_;
};

TEST_F(DetectionServiceTest, ScoreGivesTheDetectorsVerdictsBitForBit) {
  std::vector<float> rows = TinyRows(700, 3, 5);
  rows[3] = 1e6f;
  rows[10] = std::nanf("");
  for (int i = 0; i < 3; ++i) rows[static_cast<size_t>(12 + i)] = std::nanf("");
  v1::ScoreRequest request = MakeScoreRequest("pump", rows);
  request.set_id("abc");
  request.mutable_options()->set_reconstruction(true);
  request.mutable_options()->set_code(true);
  request.mutable_options()->set_imputation(true);
  request.mutable_options()->set_purification_passes(2);
  request.mutable_options()->set_top_contributors(2);
  request.mutable_options()->set_counterfactual(2);
  v1::ScoreResponse response;
  const grpc::Status status = server_.Score(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();

  const auto detector = server_.server().registry().Find(request.model())->detector;
  ScoreResult expected;
  const ScoreOptions options = {.top_contributors = 2,
                                .reconstruction = true,
                                .code = true,
                                .imputation = true,
                                .purification_passes = 2,
                                .counterfactual = 2};
  ASSERT_TRUE(detector->Score(rows, options, &expected).ok());
  ASSERT_EQ(response.verdicts_size(), 700);
  for (int i = 0; i < 700; ++i) {
    const Verdict& want = expected.verdicts[static_cast<size_t>(i)];
    const v1::Verdict& got = response.verdicts(i);
    ASSERT_EQ(got.error(), want.error) << i;
    ASSERT_EQ(got.score(), want.score);
    ASSERT_EQ(got.p_value(), want.p_value);
    ASSERT_EQ(got.anomalous(), want.anomalous);
    ASSERT_EQ(got.contributions_size(), static_cast<int>(want.contributions));
    ASSERT_EQ(got.has_repair(), want.repairs > 0);
    ASSERT_EQ(got.repair().features_size(), static_cast<int>(want.repairs));
    for (int k = 0; k < got.repair().scores_size(); ++k) {
      const RepairStep& step = expected.repairs[static_cast<size_t>(i) * 2 + static_cast<size_t>(k)];
      ASSERT_EQ(got.repair().scores(k), step.score);
      ASSERT_EQ(got.repair().features(k), detector->model().pipeline.feature_names()[step.feature]);
    }
    for (int k = 0; k < got.contributions_size(); ++k) {
      const Contribution& named =
          expected.contributions[static_cast<size_t>(i) * expected.contributions_stride + static_cast<size_t>(k)];
      ASSERT_EQ(got.contributions(k).has_repaired_score(), !std::isnan(named.repaired_score));
      if (want.anomalous) {
        ASSERT_EQ(got.contributions(k).repaired_score(), named.repaired_score);
      }
    }
    ASSERT_EQ(got.reconstruction_size(), 3);
    ASSERT_EQ(got.reconstruction(1), expected.reconstruction[static_cast<size_t>(i) * 3 + 1]);
    ASSERT_EQ(got.purified_size(), 3);
    ASSERT_EQ(got.purified(2), expected.purified[static_cast<size_t>(i) * 3 + 2]);
    ASSERT_EQ(got.imputation().row_size(), 3);
    ASSERT_EQ(got.imputation().row(0), expected.imputed[static_cast<size_t>(i) * 3]);
    ASSERT_EQ(got.imputation().iterations(), expected.imputations[static_cast<size_t>(i)].iterations);
    ASSERT_EQ(got.imputation().converged(), expected.imputations[static_cast<size_t>(i)].converged);
    const size_t units = detector->code_size();
    ASSERT_EQ(got.code_size(), static_cast<int>(units));
    for (size_t k = 0; k < units; ++k)
      ASSERT_EQ(got.code(static_cast<int>(k)), expected.code[static_cast<size_t>(i) * units + k]);
  }
  EXPECT_TRUE(response.verdicts(1).anomalous());
  EXPECT_EQ(response.verdicts(1).contributions(0).feature(), "flow");
  EXPECT_EQ(response.verdicts(1).contributions(0).observed(), 1e6f);
  EXPECT_EQ(response.verdicts(4).state(), v1::Verdict::ALL_MISSING);
  EXPECT_EQ(response.id(), "abc");
  EXPECT_EQ(response.provenance().model(), "pump");
  EXPECT_EQ(response.provenance().version(), 1);
  EXPECT_EQ(response.provenance().artifact_sha256(), detector->model().artifact_sha256.substr(0, 12));
  EXPECT_EQ(response.provenance().threshold(), detector->calibration().threshold());
}

TEST_F(DetectionServiceTest, AScoreFunctionNeedsAModelThatHasOne) {
  v1::ScoreRequest request = MakeScoreRequest("pump", TinyRows(4, 3, 1));
  request.mutable_options()->set_score_function(true);
  ExpectError(
      request, grpc::FAILED_PRECONDITION,
      "score_function: expected a model whose only corruption is gaussian with a fixed sigma, got 'pump' with 0 "
      "corruptions, the first: none");
  request.mutable_options()->set_score_function(false);
  request.mutable_options()->set_purification_passes(101);
  ExpectError(request, grpc::INVALID_ARGUMENT, "options.purification_passes: expected at most 100, got 101");
}

TEST_F(DetectionServiceTest, BadRequestsNameFieldPlaceAndExpectation) {
  ExpectError(MakeScoreRequest("pump", TinyRows(2, 2, 1)), grpc::INVALID_ARGUMENT,
              "values: expected a multiple of 3 (the features of model 'pump' version 1), got 4 numbers");
  ExpectError(MakeScoreRequest("pump", {}), grpc::INVALID_ARGUMENT, "values: expected a multiple of 3");
  std::vector<float> rows = TinyRows(5, 3, 1);
  rows[3 * 3] = std::numeric_limits<float>::infinity();
  ExpectError(MakeScoreRequest("pump", rows), grpc::INVALID_ARGUMENT,
              "values: row 3, feature 'flow': expected a finite");
  ExpectError(MakeScoreRequest("pmp", TinyRows(1, 3, 1)), grpc::NOT_FOUND, "model 'pmp': not found");
  ExpectError(MakeScoreRequest("", TinyRows(1, 3, 1)), grpc::INVALID_ARGUMENT, "model.name: expected");
  v1::ScoreRequest request = MakeScoreRequest("pump", TinyRows(1, 3, 1));
  request.mutable_options()->set_top_contributors(65);
  ExpectError(request, grpc::INVALID_ARGUMENT, "options.top_contributors: expected at most 64, got 65");
  request.mutable_options()->set_top_contributors(3);
  request.mutable_options()->set_counterfactual(9);
  ExpectError(request, grpc::INVALID_ARGUMENT, "options.counterfactual: expected at most 8, got 9");
  request = MakeScoreRequest("pump", TinyRows(1, 3, 1));
  request.mutable_model()->set_version(4);
  ExpectError(request, grpc::NOT_FOUND, "version 4: not found");
  request.mutable_model()->set_label("stable");
  ExpectError(request, grpc::NOT_FOUND, "label 'stable': not found");
  EXPECT_EQ(server_.Metric("astray_requests_total{code=\"NOT_FOUND\",method=\"Score\"}"), 3);
  EXPECT_THAT(server_.Metrics(), testing::Not(HasSubstr("pmp")));
}

TEST_F(DetectionServiceTest, AnExpiredDeadlineIsDeadlineExceeded) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() - std::chrono::seconds(1));
  v1::ScoreResponse response;
  const grpc::Status status =
      server_.detection().Score(&context, MakeScoreRequest("pump", TinyRows(1, 3, 1)), &response);
  EXPECT_EQ(status.error_code(), grpc::DEADLINE_EXCEEDED);
}

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
  const auto models = MakeTestFolder();
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

TEST(DetectionServiceWindow, UnaryRequestsWarmUpAndNeedAWindow) {
  RunningServer server({.window = 4});
  v1::ScoreResponse response;
  const grpc::Status status = server.Score(MakeScoreRequest("pump", TinyRows(3, 3, 1)), &response);
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(),
              HasSubstr("model 'pump' version 1 scores windows of 4 rows: values: expected at least 4 rows, got 3"));
  ASSERT_TRUE(server.Score(MakeScoreRequest("pump", TinyRows(6, 3, 1)), &response).ok());
  ASSERT_EQ(response.verdicts_size(), 6);
  EXPECT_EQ(response.verdicts(2).state(), v1::Verdict::WARMING_UP);
  EXPECT_EQ(response.verdicts(3).state(), v1::Verdict::SCORED);

  v1::CalibrateHeader header;
  header.mutable_model()->set_name("pump");
  v1::CalibrateResponse calibrated;
  ASSERT_TRUE(server.Calibrate(header, TinyRows(200, 3, 1), &calibrated).ok());
  EXPECT_EQ(calibrated.calibration().samples(), 197u);
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
