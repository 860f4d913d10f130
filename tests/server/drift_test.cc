// Drift of a served model, from calls to what an operator sees.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/random.h"
#include "tests/testing/running_server.h"

namespace astray {
namespace {

using testing::HasSubstr;
using Summary = v1::DriftSummary;

constexpr size_t kFeatures = 3;
constexpr char kLabels[] = R"({model="pump",version="1"})";

// Rows like those of the tiny detector's calibration, in no order: its plant goes up and down for a hundred rows at a
// time. The calibration does not say so: one row in 32 counts.
std::vector<float> MixedRows(size_t n, uint64_t seed) {
  const std::vector<float> ordered = TinyRows(3 * n, kFeatures, seed);
  std::vector<uint32_t> order(3 * n);
  std::iota(order.begin(), order.end(), 0u);
  Random(seed).Shuffle(order);
  std::vector<float> rows;
  for (size_t i = 0; i < n; ++i) {
    const auto row = ordered.begin() + static_cast<std::ptrdiff_t>(order[i] * kFeatures);
    rows.insert(rows.end(), row, row + kFeatures);
  }
  return rows;
}

std::vector<float> Moved(std::vector<float> rows, size_t feature, float by) {
  for (size_t i = feature; i < rows.size(); i += kFeatures) rows[i] += by;
  return rows;
}

class DriftTest : public testing::Test {
 protected:
  // In calls of 256 rows: tiles of a larger one may meet at the monitor, and the second is not counted.
  void Score(const std::vector<float>& rows) {
    for (size_t first = 0; first < rows.size(); first += 256 * kFeatures) {
      const size_t size = std::min(256 * kFeatures, rows.size() - first);
      v1::ScoreResponse response;
      const grpc::Status status =
          server_.Score(MakeScoreRequest("pump", std::span(rows).subspan(first, size)), &response);
      ASSERT_TRUE(status.ok()) << status.error_message();
    }
  }
  Summary Drift() {
    v1::DescribeModelRequest request;
    request.mutable_model()->set_name("pump");
    v1::ModelDescription description;
    grpc::ClientContext context;
    const grpc::Status status = server_.model().DescribeModel(&context, request, &description);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_TRUE(description.has_drift());
    return description.drift();
  }
  double Gauge(const std::string& name) { return server_.Metric(absl::StrCat("astray_drift_", name, kLabels)); }
  double Recommended(const std::string& what) {
    return server_.Metric(
        absl::StrCat(R"(astray_drift_recommendation{model="pump",recommendation=")", what, R"(",version="1"})"));
  }

  RunningServer server_;
};

TEST_F(DriftTest, AStationaryStreamGivesNoAdvice) {
  Score(MixedRows(60'000, 10));
  const Summary drift = Drift();
  EXPECT_EQ(drift.recommendation(), Summary::NOTHING) << drift.advice();
  EXPECT_FALSE(drift.alarm());
  EXPECT_EQ(drift.scored_rows(), 60'000u);
  EXPECT_EQ(drift.spacing(), 32u);
  EXPECT_NEAR(static_cast<double>(drift.counted_rows()), 60'000 / 47.5, 50);
  EXPECT_NEAR(static_cast<double>(drift.sampled_rows()), 60'000 / 47.5, 50);
  EXPECT_LT(drift.psi_max(), 0.1);
  EXPECT_EQ(drift.features(1).feature(), "pressure");
  EXPECT_EQ(Gauge("alarm"), 0);
  EXPECT_EQ(Gauge("counted_rows"), static_cast<double>(drift.counted_rows()));
  EXPECT_NEAR(Gauge("psi_max"), drift.psi_max(), 1e-6);
  EXPECT_EQ(Recommended("nothing"), 1);
  EXPECT_EQ(Recommended("retrain"), 0);
  EXPECT_NEAR(server_.Metric(R"(astray_drift_psi{feature="flow",model="pump",version="1"})"), drift.features(0).psi(),
              1e-6);
}

TEST_F(DriftTest, AMovedSensorIsNamedAndAPromotionBeginsAnew) {
  Score(MixedRows(20'000, 1));
  const uint64_t before = Drift().counted_rows();
  EXPECT_FALSE(Drift().alarm());
  Score(Moved(MixedRows(20'000, 2), 1, 8));
  const Summary drift = Drift();
  EXPECT_TRUE(drift.alarm());
  EXPECT_GT(drift.alarm_at_row(), before);
  EXPECT_LE(drift.alarm_at_row(), before + 100);
  EXPECT_EQ(drift.recommendation(), Summary::LOOK_AT_SENSORS);
  EXPECT_THAT(drift.advice(), HasSubstr("pressure (PSI "));
  EXPECT_GT(drift.anomaly_rate(), 0.3);
  EXPECT_EQ(Gauge("alarm"), 1);
  EXPECT_GT(Gauge("error_change_log10"), 8);
  EXPECT_GT(Gauge("psi_max"), 0.25);
  EXPECT_EQ(Gauge("shifted_features"), 1);
  EXPECT_EQ(Recommended("look_at_sensors"), 1);
  EXPECT_EQ(Recommended("nothing"), 0);

  v1::CalibrateHeader header;
  header.mutable_model()->set_name("pump");
  v1::CalibrateResponse calibrated;
  ASSERT_TRUE(server_.Calibrate(header, Moved(MixedRows(400, 7), 1, 8), &calibrated).ok());
  EXPECT_TRUE(Drift().alarm()) << "nothing is live yet";
  v1::PromoteCalibrationRequest promote;
  *promote.mutable_model() = header.model();
  promote.set_epoch(2);
  v1::CalibrationChange change;
  grpc::ClientContext context;
  ASSERT_TRUE(server_.model().PromoteCalibration(&context, promote, &change).ok());
  EXPECT_FALSE(Drift().alarm());
  EXPECT_EQ(Drift().scored_rows(), 0u);
  EXPECT_EQ(Gauge("alarm"), 0);
  EXPECT_TRUE(std::isnan(Gauge("psi_max")));
  // Its errors fit the new calibration; that the sensor moved since training is still so.
  Score(Moved(MixedRows(10'000, 20), 1, 8));
  EXPECT_FALSE(Drift().alarm());
  EXPECT_EQ(Drift().recommendation(), Summary::LOOK_AT_SENSORS);

  grpc::ClientContext again;
  v1::RollbackCalibrationRequest rollback;
  *rollback.mutable_model() = header.model();
  ASSERT_TRUE(server_.model().RollbackCalibration(&again, rollback, &change).ok());
  EXPECT_EQ(Drift().scored_rows(), 0u);
}

TEST_F(DriftTest, AStreamIsWatchedTooAndReplaysAreNot) {
  grpc::ClientContext context;
  const auto stream = server_.detection().ScoreStream(&context);
  const auto send = [&](const std::vector<float>& rows, bool replay) {
    v1::ScoreStreamRequest request;
    request.mutable_model()->set_name("pump");
    request.mutable_values()->Add(rows.begin(), rows.end());
    request.set_replay(replay);
    stream->Write(request);
  };
  send(MixedRows(100, 2), true);
  send(MixedRows(200, 3), false);
  stream->WritesDone();
  v1::ScoreResponse response;
  size_t verdicts = 0;
  while (stream->Read(&response)) verdicts += static_cast<size_t>(response.verdicts_size());
  ASSERT_TRUE(stream->Finish().ok());
  EXPECT_EQ(verdicts, 200u);
  EXPECT_EQ(Drift().scored_rows(), 200u);
}

TEST_F(DriftTest, WhatOperatorsDoElseLeavesItAlone) {
  Score(MixedRows(200, 1));
  v1::SetLabelRequest label;
  label.set_name("pump");
  label.set_label("stable");
  label.set_version(1);
  v1::SetLabelResponse labelled;
  grpc::ClientContext first, second, third;
  ASSERT_TRUE(server_.model().SetLabel(&first, label, &labelled).ok());
  v1::LoadModelRequest load;
  load.set_name("pump");
  v1::LoadModelResponse loaded;
  ASSERT_TRUE(server_.model().LoadModel(&second, load, &loaded).ok());
  EXPECT_EQ(Drift().scored_rows(), 200u);
  v1::UnloadModelRequest unload;
  unload.set_name("pump");
  v1::UnloadModelResponse unloaded;
  ASSERT_FALSE(std::isnan(Gauge("counted_rows")));
  ASSERT_TRUE(server_.model().UnloadModel(&third, unload, &unloaded).ok());
  EXPECT_TRUE(std::isnan(Gauge("counted_rows")));
  EXPECT_THAT(server_.Metrics(), testing::Not(HasSubstr("astray_drift_psi{")));
}

// A cap on the labels, whatever a model has.
TEST(DriftMetrics, OnlyTheFirstFeaturesHaveASeries) {
  Metrics metrics;
  Summary summary;
  for (size_t i = 0; i < 100; ++i) summary.add_features()->set_feature(absl::StrCat("f", i));
  const auto held = metrics.ForModel("pump", 1);
  metrics.drift().Set("pump", 1, summary);
  const auto series = [&] {
    const std::string text = metrics.Serialize();
    size_t count = 0;
    for (size_t at = 0; (at = text.find("astray_drift_psi{", at)) != std::string::npos; ++at) ++count;
    return count;
  };
  EXPECT_EQ(series(), DriftMetrics::kMaxFeatures);
  // The version comes back with other features.
  summary.clear_features();
  summary.add_features()->set_feature("flow");
  metrics.drift().Set("pump", 1, summary);
  EXPECT_EQ(series(), 1u);
}

}  // namespace
}  // namespace astray
