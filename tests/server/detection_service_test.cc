#include "server/detection_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/server/detection_service_fixture.h"

namespace astray {
namespace {

using testing::HasSubstr;

// What Score refuses, and how.
void ExpectError(RunningServer& server, const v1::ScoreRequest& request, grpc::StatusCode code,
                 const std::string& message) {
  v1::ScoreResponse response;
  const grpc::Status status = server.Score(request, &response);
  EXPECT_EQ(status.error_code(), code);
  EXPECT_THAT(status.error_message(), HasSubstr(message));
}

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
      server_, request, grpc::FAILED_PRECONDITION,
      "score_function: expected a model whose only corruption is gaussian with a fixed sigma, got 'pump' with 0 "
      "corruptions, the first: none");
  request.mutable_options()->set_score_function(false);
  request.mutable_options()->set_purification_passes(101);
  ExpectError(server_, request, grpc::INVALID_ARGUMENT, "options.purification_passes: expected at most 100, got 101");
}

TEST_F(DetectionServiceTest, BadRequestsNameFieldPlaceAndExpectation) {
  ExpectError(server_, MakeScoreRequest("pump", TinyRows(2, 2, 1)), grpc::INVALID_ARGUMENT,
              "values: expected a multiple of 3 (the features of model 'pump' version 1), got 4 numbers");
  ExpectError(server_, MakeScoreRequest("pump", {}), grpc::INVALID_ARGUMENT, "values: expected a multiple of 3");
  std::vector<float> rows = TinyRows(5, 3, 1);
  rows[3 * 3] = std::numeric_limits<float>::infinity();
  ExpectError(server_, MakeScoreRequest("pump", rows), grpc::INVALID_ARGUMENT,
              "values: row 3, feature 'flow': expected a finite");
  ExpectError(server_, MakeScoreRequest("pmp", TinyRows(1, 3, 1)), grpc::NOT_FOUND, "model 'pmp': not found");
  ExpectError(server_, MakeScoreRequest("", TinyRows(1, 3, 1)), grpc::INVALID_ARGUMENT, "model.name: expected");
  v1::ScoreRequest request = MakeScoreRequest("pump", TinyRows(1, 3, 1));
  request.mutable_options()->set_top_contributors(65);
  ExpectError(server_, request, grpc::INVALID_ARGUMENT, "options.top_contributors: expected at most 64, got 65");
  request.mutable_options()->set_top_contributors(3);
  request.mutable_options()->set_counterfactual(9);
  ExpectError(server_, request, grpc::INVALID_ARGUMENT, "options.counterfactual: expected at most 8, got 9");
  request = MakeScoreRequest("pump", TinyRows(1, 3, 1));
  request.mutable_model()->set_version(4);
  ExpectError(server_, request, grpc::NOT_FOUND, "version 4: not found");
  request.mutable_model()->set_label("stable");
  ExpectError(server_, request, grpc::NOT_FOUND, "label 'stable': not found");
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

TEST_F(DetectionServiceTest, RowsAreSelectedAtAFalseDiscoveryRate) {
  std::vector<float> rows = TinyRows(60, 3, 7);
  for (size_t i = 0; i < 12; ++i) rows[i * 15] += 40;  // every fifth row
  v1::ScoreRequest request = MakeScoreRequest("pump", rows);
  request.mutable_options()->set_false_discovery_rate(0.1);
  v1::ScoreResponse reply;
  ASSERT_TRUE(server_.Score(request, &reply).ok());
  std::vector<double> p_values;
  for (const v1::Verdict& verdict : reply.verdicts()) p_values.push_back(verdict.p_value());
  int selected = 0;
  for (int i = 0; i < reply.verdicts_size(); ++i) {
    // By the definition: some k-th smallest p-value that is at least this one is at most 0.1 k / m.
    bool expected = false;
    for (const double q : p_values) {
      const auto k = std::count_if(p_values.begin(), p_values.end(), [&](double p) { return p <= q; });
      expected = expected || (p_values[static_cast<size_t>(i)] <= q && q <= 0.1 * static_cast<double>(k) / 60);
    }
    EXPECT_EQ(reply.verdicts(i).selected(), expected) << i;
    selected += expected ? 1 : 0;
  }
  EXPECT_GE(selected, 10);
  EXPECT_LT(selected, 20);
  for (const double rate : {0.0, 1.0, -0.5, std::nan("")}) {
    request.mutable_options()->set_false_discovery_rate(rate);
    const grpc::Status status = server_.Score(request, &reply);
    EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr("options.false_discovery_rate: expected a number in (0, 1), got"));
  }
  grpc::ClientContext context;
  const auto stream = server_.detection().ScoreStream(&context);
  v1::ScoreStreamRequest first;
  first.mutable_model()->set_name("pump");
  first.mutable_options()->set_false_discovery_rate(0.1);
  first.mutable_values()->Add(rows.begin(), rows.end());
  stream->Write(first);
  stream->WritesDone();
  v1::ScoreResponse none;
  EXPECT_FALSE(stream->Read(&none));
  EXPECT_EQ(stream->Finish().error_message(),
            "options.false_discovery_rate: expected none but with Score, which has all rows at once, got 0.1");
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

}  // namespace
}  // namespace astray
