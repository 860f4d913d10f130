// The Feedback call and what Calibrate makes of it.
#include "server/feedback.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "server/calibration_feedback.h"
#include "tests/testing/running_server.h"

namespace astray {
namespace {

using testing::HasSubstr;

v1::FeedbackRequest Request(v1::FeedbackRequest::Kind kind, std::span<const float> values) {
  v1::FeedbackRequest request;
  request.mutable_model()->set_name("pump");
  request.set_kind(kind);
  request.mutable_values()->Add(values.begin(), values.end());
  request.set_id("x");
  return request;
}

class FeedbackServer : public testing::Test {
 protected:
  explicit FeedbackServer(uint32_t window = 1) : server_({.window = window}) {}
  grpc::Status Feedback(const v1::FeedbackRequest& request, v1::FeedbackResponse* response) {
    grpc::ClientContext context;
    return server_.detection().Feedback(&context, request, response);
  }
  void Keep(v1::FeedbackRequest::Kind kind, std::span<const float> values) {
    v1::FeedbackResponse response;
    const grpc::Status status = Feedback(Request(kind, values), &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  v1::CalibrateResponse Calibrate(std::span<const float> rows, bool include_false_alarms) {
    v1::CalibrateHeader header;
    header.mutable_model()->set_name("pump");
    header.set_false_positive_rate(0.1);
    header.set_include_false_alarms(include_false_alarms);
    v1::CalibrateResponse response;
    const grpc::Status status = server_.Calibrate(header, rows, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  // The same rows as those of each segment, a message for each.
  v1::CalibrateResponse CalibrateSegments(const std::vector<std::string>& segments, std::span<const float> rows,
                                          bool merge) {
    grpc::ClientContext context;
    v1::CalibrateResponse response;
    const auto writer = server_.detection().Calibrate(&context, &response);
    v1::CalibrateRequest request;
    request.mutable_header()->mutable_model()->set_name("pump");
    request.mutable_header()->set_false_positive_rate(0.1);
    request.mutable_header()->set_include_false_alarms(true);
    request.mutable_header()->set_promote(true);
    if (merge) request.mutable_header()->set_mode(v1::CalibrateHeader::MERGE);
    writer->Write(request);
    for (const std::string& segment : segments) {
      request.mutable_rows()->Clear();
      request.mutable_rows()->set_segment(segment);
      request.mutable_rows()->mutable_values()->Add(rows.begin(), rows.end());
      writer->Write(request);
    }
    writer->WritesDone();
    const grpc::Status status = writer->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  std::shared_ptr<const Detector> Find() {
    v1::ModelRef ref;
    ref.set_name("pump");
    return server_.server().registry().Find(ref)->detector;
  }
  // The threshold for these errors at a rate of 0.1, by its definition.
  static double Threshold(std::vector<float> errors) {
    std::ranges::sort(errors);
    const auto rank = static_cast<size_t>(std::ceil(0.9 * static_cast<double>(errors.size() + 1)));
    return errors[rank - 1];
  }

  RunningServer server_;
};

class WindowedFeedbackServer : public FeedbackServer {
 protected:
  WindowedFeedbackServer() : FeedbackServer(4) {}
};

TEST_F(FeedbackServer, AnswersWithTheVerdictAndWhatIsKept) {
  std::vector<float> row = TinyRows(1, 3, 7);
  row[0] += 30;
  v1::FeedbackResponse response;
  ASSERT_TRUE(Feedback(Request(v1::FeedbackRequest::FALSE_ALARM, row), &response).ok());
  v1::ScoreResponse scored;
  ASSERT_TRUE(server_.Score(MakeScoreRequest("pump", row), &scored).ok());
  EXPECT_EQ(response.verdict().SerializeAsString(), scored.verdicts(0).SerializeAsString());
  EXPECT_EQ(response.provenance().SerializeAsString(), scored.provenance().SerializeAsString());
  EXPECT_EQ(response.id(), "x");
  EXPECT_EQ(response.kept().false_alarms(), 1u);
  EXPECT_FALSE(response.known());
  ASSERT_TRUE(Feedback(Request(v1::FeedbackRequest::FALSE_ALARM, row), &response).ok());
  EXPECT_TRUE(response.known());
  row[1] += 30;
  ASSERT_TRUE(Feedback(Request(v1::FeedbackRequest::CONFIRMED_ANOMALY, row), &response).ok());
  EXPECT_EQ(response.kept().confirmed_anomalies(), 1u);
  EXPECT_EQ(server_.Metric("astray_feedback_total{kind=\"false_alarm\",model=\"pump\",version=\"1\"}"), 1);
  EXPECT_EQ(server_.Metric("astray_feedback_total{kind=\"confirmed_anomaly\",model=\"pump\",version=\"1\"}"), 1);
  v1::DescribeModelRequest describe;
  describe.mutable_model()->set_name("pump");
  v1::ModelDescription description;
  grpc::ClientContext context;
  ASSERT_TRUE(server_.model().DescribeModel(&context, describe, &description).ok());
  EXPECT_EQ(description.feedback().false_alarms(), 1u);
  EXPECT_EQ(description.feedback().confirmed_anomalies(), 1u);
}

TEST_F(WindowedFeedbackServer, BadRequestsNameTheField) {
  v1::FeedbackResponse response;
  const auto refusal = [&](const v1::FeedbackRequest& request, grpc::StatusCode code) {
    const grpc::Status status = Feedback(request, &response);
    EXPECT_EQ(status.error_code(), code);
    return status.error_message();
  };
  const std::vector<float> rows = TinyRows(4, 3, 7);
  EXPECT_EQ(refusal(Request(v1::FeedbackRequest::KIND_UNSPECIFIED, rows), grpc::INVALID_ARGUMENT),
            "kind: expected FALSE_ALARM or CONFIRMED_ANOMALY");
  EXPECT_EQ(refusal(Request(v1::FeedbackRequest::FALSE_ALARM, std::span(rows).first(9)), grpc::INVALID_ARGUMENT),
            "values: expected the 4 rows of a window or more, the last of them judged, got 3");
  EXPECT_THAT(refusal(Request(v1::FeedbackRequest::FALSE_ALARM, std::span(rows).first(8)), grpc::INVALID_ARGUMENT),
              HasSubstr("values: expected a multiple of 3"));
  v1::FeedbackRequest request = Request(v1::FeedbackRequest::FALSE_ALARM, {});
  request.add_lines("a line");
  EXPECT_EQ(refusal(request, grpc::FAILED_PRECONDITION),
            "model 'pump' version 1 was not trained on a log: it takes values");
  request = Request(v1::FeedbackRequest::FALSE_ALARM, rows);
  request.mutable_model()->set_name("valve");
  EXPECT_EQ(Feedback(request, &response).error_code(), grpc::NOT_FOUND);
  EXPECT_FALSE(std::filesystem::exists(server_.models() / "pump/feedback"));
}

TEST_F(FeedbackServer, FalseAlarmsJoinTheNextCalibrationWhereAskedFor) {
  const std::vector<float> normal = TinyRows(200, 3, 9);
  std::vector<float> alarms = TinyRows(40, 3, 11);
  for (size_t i = 0; i < 40; ++i) alarms[3 * i] += 3;
  for (size_t i = 0; i < 40; ++i) Keep(v1::FeedbackRequest::FALSE_ALARM, std::span(alarms).subspan(3 * i, 3));
  std::vector<float> errors = *Find()->Errors(normal);
  const v1::CalibrateResponse without = Calibrate(normal, false);
  EXPECT_EQ(without.calibration().samples(), 200u);
  EXPECT_EQ(without.calibration().threshold(), Threshold(errors));
  EXPECT_EQ(without.false_alarms_added(), 0u);
  const v1::CalibrateResponse with = Calibrate(normal, true);
  const std::vector<float> more = *Find()->Errors(alarms);
  errors.insert(errors.end(), more.begin(), more.end());
  EXPECT_EQ(with.false_alarms_added(), 40u);
  EXPECT_EQ(with.calibration().samples(), 240u);
  EXPECT_EQ(with.calibration().threshold(), Threshold(errors));
  EXPECT_GT(with.calibration().threshold(), without.calibration().threshold());
}

TEST_F(FeedbackServer, MergedAgainAFalseAlarmCountsOnce) {
  const auto calibrate = [&](v1::CalibrateHeader::Mode mode, uint64_t seed) {
    v1::CalibrateHeader header;
    header.mutable_model()->set_name("pump");
    header.set_false_positive_rate(0.1);
    header.set_include_false_alarms(true);
    header.set_promote(true);
    header.set_mode(mode);
    v1::CalibrateResponse response;
    const grpc::Status status = server_.Calibrate(header, TinyRows(100, 3, seed), &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  };
  const std::vector<float> alarms = TinyRows(7, 3, 11);
  Keep(v1::FeedbackRequest::FALSE_ALARM, std::span(alarms).first(3 * 4));  // the last row counts
  for (size_t i = 0; i < 5; ++i) Keep(v1::FeedbackRequest::FALSE_ALARM, std::span(alarms).subspan(3 * i, 3));
  v1::CalibrateResponse made = calibrate(v1::CalibrateHeader::REPLACE, 1);
  EXPECT_EQ(made.false_alarms_added(), 5u);  // one of them was said twice
  EXPECT_EQ(made.calibration().samples(), 105u);
  for (size_t i = 5; i < 7; ++i) Keep(v1::FeedbackRequest::FALSE_ALARM, std::span(alarms).subspan(3 * i, 3));
  made = calibrate(v1::CalibrateHeader::MERGE, 2);
  EXPECT_EQ(made.false_alarms_added(), 2u);
  EXPECT_EQ(made.calibration().samples(), 207u);
  made = calibrate(v1::CalibrateHeader::MERGE, 3);
  EXPECT_EQ(made.false_alarms_added(), 0u);
  EXPECT_EQ(made.calibration().samples(), 307u);
  EXPECT_EQ(Find()->calibration().ToSamples().false_alarms.size(), 7u);
  made = calibrate(v1::CalibrateHeader::REPLACE, 4);
  EXPECT_EQ(made.false_alarms_added(), 7u);
  EXPECT_EQ(made.calibration().samples(), 107u);
}

TEST_F(FeedbackServer, AFalseAlarmJoinsTheErrorsOfItsSegmentAndOfAllRows) {
  const std::vector<float> normal = TinyRows(100, 3, 9);
  std::vector<float> alarms = TinyRows(30, 3, 11);
  for (size_t i = 0; i < 30; ++i) alarms[3 * i] += 3;
  // 20 of the night, 5 of a segment without rows, 5 of which nothing was said.
  for (size_t i = 0; i < 30; ++i) {
    v1::FeedbackRequest request = Request(v1::FeedbackRequest::FALSE_ALARM, std::span(alarms).subspan(3 * i, 3));
    request.set_segment(i < 20 ? "night" : (i < 25 ? "new" : ""));
    v1::FeedbackResponse response;
    ASSERT_TRUE(Feedback(request, &response).ok());
  }
  const std::vector<float> errors = *Find()->Errors(normal), alarm_errors = *Find()->Errors(alarms);
  const auto with = [&](std::vector<float> of, size_t first, size_t count) {
    const auto begin = alarm_errors.begin() + static_cast<std::ptrdiff_t>(first);
    of.insert(of.end(), begin, begin + static_cast<std::ptrdiff_t>(count));
    return of;
  };
  std::vector<float> twice = errors;
  twice.insert(twice.end(), errors.begin(), errors.end());
  const v1::CalibrateResponse made = CalibrateSegments({"day", "night"}, normal, /*merge=*/false);
  EXPECT_EQ(made.false_alarms_added(), 30u);
  EXPECT_EQ(made.calibration().samples(), 230u);
  EXPECT_EQ(made.calibration().threshold(), Threshold(with(twice, 0, 30)));
  ASSERT_EQ(made.calibration().segments_size(), 3);
  const v1::SegmentSummary &day = made.calibration().segments(0), &fresh = made.calibration().segments(1),
                           &night = made.calibration().segments(2);
  EXPECT_EQ(day.samples(), 100u);
  EXPECT_EQ(day.threshold(), Threshold(errors)) << "nobody complained of the day";
  EXPECT_EQ(night.samples(), 120u);
  EXPECT_EQ(night.threshold(), Threshold(with(errors, 0, 20)));
  EXPECT_GT(night.threshold(), day.threshold());
  EXPECT_EQ(fresh.name(), "new");
  EXPECT_EQ(fresh.samples(), 5u);
  // Merged, they are there already.
  const v1::CalibrateResponse merged = CalibrateSegments({"day", "night"}, normal, /*merge=*/true);
  ASSERT_EQ(merged.calibration().segments_size(), 3);
  EXPECT_EQ(merged.calibration().samples(), 430u);
  EXPECT_EQ(merged.calibration().segments(0).samples(), 200u);
  EXPECT_EQ(merged.calibration().segments(1).samples(), 5u);
  EXPECT_EQ(merged.calibration().segments(2).samples(), 220u);
  EXPECT_EQ(merged.calibration().segments(2).threshold(), Threshold(with(twice, 0, 20)));
  // The reply's verdict is by the segment, as Score's is.
  for (const char* segment : {"night", "day", "", "none such"}) {
    v1::ScoreRequest score = MakeScoreRequest("pump", std::span(alarms).first(3));
    score.set_segment(segment);
    v1::ScoreResponse scored;
    ASSERT_TRUE(server_.Score(score, &scored).ok());
    v1::FeedbackRequest request = Request(v1::FeedbackRequest::FALSE_ALARM, std::span(alarms).first(3));
    request.set_segment(segment);
    v1::FeedbackResponse response;
    ASSERT_TRUE(Feedback(request, &response).ok());
    EXPECT_EQ(response.verdict().SerializeAsString(), scored.verdicts(0).SerializeAsString()) << segment;
  }
  v1::FeedbackRequest request = Request(v1::FeedbackRequest::FALSE_ALARM, normal);
  request.set_segment(std::string(257, 'x'));
  v1::FeedbackResponse response;
  EXPECT_EQ(Feedback(request, &response).error_message(), "segment: expected at most 256 bytes, got 257");
}

TEST_F(FeedbackServer, AFalseAlarmOfASegmentTooManyCountsAmongAllRows) {
  std::vector<float> alarm = TinyRows(1, 3, 11);
  v1::FeedbackRequest request = Request(v1::FeedbackRequest::FALSE_ALARM, alarm);
  request.set_segment("one more");
  v1::FeedbackResponse response;
  ASSERT_TRUE(Feedback(request, &response).ok());
  std::vector<std::string> segments(CalibrationSamples::kMaxSegments);
  for (size_t i = 0; i < segments.size(); ++i) segments[i] = "s" + std::to_string(i);
  const v1::CalibrateResponse made = CalibrateSegments(segments, TinyRows(1, 3, 9), /*merge=*/false);
  EXPECT_EQ(made.false_alarms_added(), 1u);
  EXPECT_EQ(made.calibration().samples(), 1'001u);
  EXPECT_EQ(made.calibration().segments_size(), 1'000);
}

TEST_F(FeedbackServer, FalseAlarmsOutliveTheVersionThatRaisedThem) {
  std::vector<float> alarm = TinyRows(1, 3, 11);
  alarm[0] += 3;
  Keep(v1::FeedbackRequest::FALSE_ALARM, alarm);
  WriteTinyArtifact(server_.models(), {.window = 2, .seed = 2});
  WriteTinyArtifact(server_.models(), {.features = {"flow", "pressure", "speed"}, .seed = 3});
  WriteTinyArtifact(server_.models(), {.seed = 4});
  ASSERT_TRUE(server_.server().registry().Load("pump").ok());
  EXPECT_EQ(Find()->model().version, 4);
  EXPECT_EQ(Calibrate(TinyRows(100, 3, 9), true).false_alarms_added(), 1u);
  std::filesystem::remove_all(server_.models() / "pump/4");
  ASSERT_TRUE(server_.server().registry().Poll().ok());
  EXPECT_EQ(Calibrate(TinyRows(100, 3, 9), true).false_alarms_added(), 0u);  // another feature
  std::filesystem::remove_all(server_.models() / "pump/3");
  ASSERT_TRUE(server_.server().registry().Poll().ok());
  EXPECT_EQ(Calibrate(TinyRows(100, 3, 9), true).false_alarms_added(), 0u);  // a longer window than was kept
}

TEST_F(FeedbackServer, ConfirmedRowsAreKeptOutOfCalibrations) {
  std::vector<float> rows = TinyRows(150, 3, 9);
  std::vector<float> normal = rows;
  for (const size_t i : {100u, 30u}) {
    rows[3 * i + 1] += 9;
    Keep(v1::FeedbackRequest::CONFIRMED_ANOMALY, std::span(rows).subspan(3 * i, 3));
    normal.erase(normal.begin() + static_cast<std::ptrdiff_t>(3 * i),
                 normal.begin() + static_cast<std::ptrdiff_t>(3 * i + 3));
  }
  const v1::CalibrateResponse made = Calibrate(rows, false);
  EXPECT_EQ(made.confirmed_left_out(), 2u);
  EXPECT_EQ(made.calibration().samples(), 148u);
  EXPECT_EQ(made.calibration().threshold(), Threshold(*Find()->Errors(normal)));
}

// Against every window looked at by itself, for entities whose rows come in turns in pieces of any size.
TEST(CalibrationFeedback, LeavesOutEveryWindowThatHoldsAConfirmedRow) {
  const auto detector = MakeTinyDetector({.window = 4});
  const size_t window = 4, features = 3;
  const std::vector<float> rows = TinyRows(200, features, 9);
  std::vector<v1::FeedbackRecord> records;
  const std::set<size_t> confirmed = {5, 40, 41, 90, 199};  // newest rows
  for (const size_t newest : confirmed) {
    v1::FeedbackRecord record;
    record.set_kind(v1::FeedbackRecord::CONFIRMED_ANOMALY);
    record.set_features_sha256(FeaturesSha256(*detector));
    record.set_features(features);
    const auto values = std::span(rows).subspan((newest + 1 - window) * features, window * features);
    record.mutable_values()->Add(values.begin(), values.end());
    records.push_back(record);
  }
  // The same newest row after others: not what was confirmed.
  records.push_back(records[0]);
  records.back().set_values(0, 1e6f);
  for (int i = 0; i < 3; ++i) {
    records.back().set_values(9 + i, rows[3 * 120 + static_cast<size_t>(i)]);
  }
  CalibrationFeedback feedback(*detector, records);
  uint64_t expected_left_out = 0;
  for (const size_t piece : {1u, 3u, 7u, 64u, 200u}) {
    const std::string entity = "machine " + std::to_string(piece);
    std::vector<bool> left_out(200, false);
    for (size_t begin = 0; begin < 200; begin += piece) {
      const size_t history = std::min(begin, window - 1);
      const size_t count = std::min(piece, 200 - begin);
      std::vector<Verdict> verdicts(history + count, Verdict{.state = Verdict::State::kScored});
      feedback.LeaveOutConfirmed(entity, std::span(rows).subspan((begin - history) * features, (history + count) * 3),
                                 verdicts);
      for (size_t i = 0; i < verdicts.size(); ++i) {
        if (verdicts[i].state == Verdict::State::kScored) continue;
        left_out[begin - history + i] = true;  // the window that begins there
      }
    }
    for (size_t first = 0; first + window <= 200; ++first) {
      const bool holds = std::ranges::any_of(confirmed, [&](size_t r) { return r >= first && r < first + window; });
      EXPECT_EQ(left_out[first], holds) << piece << " " << first;
      expected_left_out += holds ? 1 : 0;
    }
  }
  EXPECT_EQ(feedback.left_out(), expected_left_out);
}

}  // namespace
}  // namespace astray
