// ScoreStream over a real connection.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "absl/strings/str_cat.h"
#include "engine/base/random.h"
#include "server/message_bytes.h"
#include "server/stream_call.h"
#include "server/stream_scorer.h"
#include "tests/testing/raw_call.h"
#include "tests/testing/running_server.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

using testing::HasSubstr;

v1::ScoreStreamRequest MakeStreamRequest(std::span<const float> values, const std::string& id = "") {
  v1::ScoreStreamRequest request;
  request.mutable_model()->set_name("pump");
  request.mutable_values()->Add(values.begin(), values.end());
  request.set_id(id);
  return request;
}

class StreamTest : public testing::TestWithParam<uint32_t> {};

TEST_P(StreamTest, RepliesComeInOrderAndAreThoseOfTheWhole) {
  RunningServer server({.window = GetParam()});
  const std::vector<float> rows = TinyRows(600, 3, 5);
  std::vector<size_t> sizes = {1, 2, 1, 7, 300, 1};  // rows of the messages
  while (true) {
    size_t sum = 0;
    for (const size_t size : sizes) sum += size;
    if (sum == 600) break;
    sizes.push_back(1);
  }
  grpc::ClientContext context;
  const auto stream = server.detection().ScoreStream(&context);
  std::thread writer([&] {
    size_t row = 0;
    for (size_t i = 0; i < sizes.size(); ++i) {
      const std::span<const float> piece = std::span(rows).subspan(row * 3, sizes[i] * 3);
      ASSERT_TRUE(stream->Write(MakeStreamRequest(piece, absl::StrCat(i))));
      row += sizes[i];
    }
    stream->WritesDone();
  });
  ScoreResult expected;
  v1::ModelRef ref;
  ref.set_name("pump");
  ASSERT_TRUE(server.server().registry().Find(ref)->detector->Score(rows, {}, &expected).ok());
  size_t row = 0, messages = 0;
  v1::ScoreResponse response;
  while (stream->Read(&response)) {
    EXPECT_EQ(response.id(), absl::StrCat(messages));
    ASSERT_LT(messages, sizes.size());
    ASSERT_EQ(response.verdicts_size(), static_cast<int>(sizes[messages]));
    for (const v1::Verdict& verdict : response.verdicts()) {
      if (row < GetParam() - 1) {
        EXPECT_EQ(verdict.state(), v1::Verdict::WARMING_UP) << row;
      } else {
        ASSERT_EQ(verdict.state(), v1::Verdict::SCORED) << row;
        ASSERT_EQ(verdict.error(), expected.verdicts[row - GetParam() + 1].error) << row;
      }
      ++row;
    }
    ++messages;
  }
  writer.join();
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(messages, sizes.size());
  EXPECT_EQ(row, 600u);
}
INSTANTIATE_TEST_SUITE_P(Windows, StreamTest, testing::Values(1u, 5u));

// Rows of ten thousand machines, one a message, in turns: each gets the verdicts of its rows alone.
TEST(Stream, EntitiesHaveWindowsOfTheirOwn) {
  constexpr size_t kEntities = 10'000, kRounds = 4, kWindow = 3;
  RunningServer server({.window = kWindow});
  std::vector<std::vector<float>> rows;
  for (size_t e = 0; e < kEntities; ++e) rows.push_back(TinyRows(kRounds, 3, 100 + e));
  grpc::ClientContext context;
  const auto stream = server.detection().ScoreStream(&context);
  std::thread writer([&] {
    for (size_t round = 0; round < kRounds; ++round) {
      for (size_t e = 0; e < kEntities; ++e) {
        v1::ScoreStreamRequest request = MakeStreamRequest(std::span(rows[e]).subspan(round * 3, 3), absl::StrCat(e));
        request.set_entity(absl::StrCat("pump-", e));
        ASSERT_TRUE(stream->Write(request));
      }
    }
    stream->WritesDone();
  });
  v1::ModelRef ref;
  ref.set_name("pump");
  const auto detector = server.server().registry().Find(ref)->detector;
  std::vector<ScoreResult> expected(kEntities);
  for (size_t e = 0; e < kEntities; ++e) ASSERT_TRUE(detector->Score(rows[e], {}, &expected[e]).ok());
  v1::ScoreResponse response;
  for (size_t i = 0; i < kRounds * kEntities; ++i) {
    const size_t e = i % kEntities, round = i / kEntities;
    ASSERT_TRUE(stream->Read(&response));
    ASSERT_EQ(response.id(), absl::StrCat(e));
    ASSERT_EQ(response.entity(), absl::StrCat("pump-", e));
    ASSERT_EQ(response.verdicts_size(), 1);
    if (round + 1 < kWindow) {
      ASSERT_EQ(response.verdicts(0).state(), v1::Verdict::WARMING_UP);
      continue;
    }
    const Verdict& verdict = expected[e].verdicts[round + 1 - kWindow];
    ASSERT_EQ(response.verdicts(0).error(), verdict.error) << "entity " << e << " round " << round;
    ASSERT_EQ(response.verdicts(0).p_value(), verdict.p_value);
    if (i == 2 * kEntities) {
      EXPECT_EQ(server.Metric("astray_stream_entities"), kEntities);
    }
  }
  writer.join();
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(server.Metric("astray_stream_entities_dropped_total"), 0);
}

TEST(Stream, AnEntitysRowsCanComeInMessagesOfAnySize) {
  RunningServer server({.window = 3});
  const std::vector<float> a = TinyRows(40, 3, 1), b = TinyRows(40, 3, 2);
  grpc::ClientContext context;
  const auto stream = server.detection().ScoreStream(&context);
  std::vector<std::pair<std::string, size_t>> messages;  // whose, rows
  std::vector<size_t> sent(2);
  Random random(1);
  while (sent[0] < 40 || sent[1] < 40) {
    const size_t who = sent[0] == 40 ? 1 : sent[1] == 40 ? 0 : random.UniformInt(2);
    const size_t count = std::min<size_t>(40 - sent[who], 1 + random.UniformInt(4));
    v1::ScoreStreamRequest request = MakeStreamRequest(std::span(who == 0 ? a : b).subspan(sent[who] * 3, count * 3));
    request.set_entity(who == 0 ? "" : "b");
    ASSERT_TRUE(stream->Write(request));
    messages.emplace_back(request.entity(), count);
    sent[who] += count;
  }
  stream->WritesDone();
  v1::ModelRef ref;
  ref.set_name("pump");
  const auto detector = server.server().registry().Find(ref)->detector;
  std::vector<ScoreResult> expected(2);
  ASSERT_TRUE(detector->Score(a, {}, &expected[0]).ok() && detector->Score(b, {}, &expected[1]).ok());
  std::vector<size_t> seen(2);
  v1::ScoreResponse response;
  for (const auto& [entity, count] : messages) {
    ASSERT_TRUE(stream->Read(&response));
    ASSERT_EQ(response.entity(), entity);
    ASSERT_EQ(response.verdicts_size(), static_cast<int>(count));
    const size_t who = entity.empty() ? 0 : 1;
    for (const v1::Verdict& verdict : response.verdicts()) {
      if (seen[who]++ < 2) continue;
      ASSERT_EQ(verdict.error(), expected[who].verdicts[seen[who] - 3].error);
    }
  }
  EXPECT_TRUE(stream->Finish().ok());
}

v1::StreamRecipe Tolerance(double seconds) {
  v1::StreamRecipe stream;
  stream.set_tolerance_seconds(seconds);
  return stream;
}

// One machine's rows come in another order than they happened, more of them wait than a stream may have unanswered.
TEST(Stream, RowsThatOvertookEachOtherHaveTheVerdictsOfTheSortedRows) {
  constexpr size_t kRows = 600, kWindow = 4;
  RunningServer server({.window = kWindow, .stream = Tolerance(200)});
  const std::vector<float> rows = TinyRows(kRows, 3, 5);
  Random random(7);
  std::vector<std::pair<double, size_t>> arrivals;
  for (size_t row = 0; row < kRows; ++row)
    arrivals.emplace_back(static_cast<double>(row) + 190 * random.Uniform(), row);
  std::ranges::sort(arrivals);
  grpc::ClientContext context;
  const auto stream = server.detection().ScoreStream(&context);
  std::thread writer([&] {
    for (const auto& [when, row] : arrivals) {
      v1::ScoreStreamRequest request = MakeStreamRequest(std::span(rows).subspan(row * 3, 3), absl::StrCat(row));
      request.add_time_unix_seconds(1.7e9 + static_cast<double>(row));
      ASSERT_TRUE(stream->Write(request));
    }
    stream->WritesDone();
  });
  v1::ModelRef ref;
  ref.set_name("pump");
  ScoreResult expected;
  ASSERT_TRUE(server.server().registry().Find(ref)->detector->Score(rows, {}, &expected).ok());
  v1::ScoreResponse response;
  size_t row = 0;
  for (; stream->Read(&response); ++row) {
    ASSERT_EQ(response.id(), absl::StrCat(row));
    if (row + 1 < kWindow) continue;
    ASSERT_EQ(response.verdicts(0).error(), expected.verdicts[row + 1 - kWindow].error) << row;
  }
  writer.join();
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(row, kRows);
  EXPECT_EQ(server.Metric("astray_stream_late_rows_total"), 0);
  EXPECT_EQ(server.Metric("astray_stream_lag_seconds_count"), kRows);
}

TEST(Stream, ARowThatWaitsIsAnsweredWithoutAnother) {
  RunningServer server({.stream = Tolerance(0.05)});
  grpc::ClientContext context;
  const auto stream = server.detection().ScoreStream(&context);
  v1::ScoreResponse response;
  for (int i = 0; i < 3; ++i) {
    v1::ScoreStreamRequest request = MakeStreamRequest(TinyRows(1, 3, 5));
    request.add_time_unix_seconds(i);
    ASSERT_TRUE(stream->Write(request));
    ASSERT_TRUE(stream->Read(&response)) << "the timer sends it on";
    EXPECT_EQ(response.verdicts(0).state(), v1::Verdict::SCORED);
  }
  stream->WritesDone();
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST(Stream, AStreamThatIsCancelledWhileRowsWaitEnds) {
  RunningServer server({.stream = Tolerance(1e6)});
  grpc::ClientContext context;
  const auto stream = server.detection().ScoreStream(&context);
  v1::ScoreStreamRequest request = MakeStreamRequest(TinyRows(1, 3, 5));
  request.add_time_unix_seconds(5);
  ASSERT_TRUE(stream->Write(request));
  request.set_time_unix_seconds(0, 5 + 2e6);  // sends the first on
  ASSERT_TRUE(stream->Write(request));
  v1::ScoreResponse response;
  ASSERT_TRUE(stream->Read(&response));
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::CANCELLED);
  server.server().Drain();
}

TEST(Stream, LateAndRepeatedRowsAreCountedAndPausesBeginNewWindows) {
  v1::StreamRecipe recipe;
  recipe.set_max_gap_seconds(60);
  RunningServer server({.window = 2, .stream = recipe});
  grpc::ClientContext context;
  const auto stream = server.detection().ScoreStream(&context);
  v1::ScoreStreamRequest request = MakeStreamRequest(TinyRows(7, 3, 5));
  for (const double time : {1000, 1001, 1001, 1003, 1002, 2000, 2001}) request.add_time_unix_seconds(time);
  ASSERT_TRUE(stream->Write(request));
  stream->WritesDone();
  v1::ScoreResponse response;
  ASSERT_TRUE(stream->Read(&response));
  std::vector<v1::Verdict::State> states;
  for (const v1::Verdict& verdict : response.verdicts()) states.push_back(verdict.state());
  EXPECT_THAT(states, testing::ElementsAre(v1::Verdict::WARMING_UP, v1::Verdict::SCORED, v1::Verdict::DUPLICATE,
                                           v1::Verdict::SCORED, v1::Verdict::LATE, v1::Verdict::WARMING_UP,
                                           v1::Verdict::SCORED));
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(server.Metric("astray_stream_late_rows_total"), 1);
  EXPECT_EQ(server.Metric("astray_stream_duplicate_rows_total"), 1);
  EXPECT_EQ(server.Metric("astray_stream_gaps_total"), 1);
}

TEST(Stream, TimesMustBeOneARow) {
  RunningServer server;
  grpc::ClientContext context;
  const auto stream = server.detection().ScoreStream(&context);
  v1::ScoreStreamRequest request = MakeStreamRequest(TinyRows(2, 3, 5));
  request.add_time_unix_seconds(5);
  stream->Write(request);
  v1::ScoreResponse response;
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(stream->Finish().error_message(), "time_unix_seconds: expected none or 2, one a row, got 1");
}

TEST(Stream, AnomalousRowsRaiseAnAlarmThatNamesTheFeature) {
  v1::AlarmRecipe alarm;
  alarm.set_raise_rows(2);
  alarm.set_of_rows(3);
  RunningServer server({.alarm = alarm});
  std::vector<float> rows = TinyRows(20, 3, 5);
  for (size_t row = 8; row < 12; ++row) rows[row * 3 + 1] += 50;  // pressure
  grpc::ClientContext context;
  const auto stream = server.detection().ScoreStream(&context);
  v1::ScoreStreamRequest request = MakeStreamRequest(rows);
  ASSERT_TRUE(stream->Write(request));
  stream->WritesDone();
  v1::ScoreResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_FALSE(response.verdicts(8).has_alarm());
  EXPECT_EQ(response.verdicts(9).alarm().state(), v1::Alarm::RAISED);
  EXPECT_EQ(response.verdicts(9).alarm().rows(), 2u);
  EXPECT_EQ(response.verdicts(12).alarm().state(), v1::Alarm::ONGOING) << "two of three";
  ASSERT_EQ(response.verdicts(13).alarm().state(), v1::Alarm::ENDED);
  EXPECT_EQ(response.verdicts(13).alarm().anomalous_rows(), 4u);
  EXPECT_EQ(response.verdicts(13).alarm().causes(0).feature(), "pressure");
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(server.Metric("astray_alarms_total{model=\"pump\",version=\"1\"}"), 1);
}

TEST(StreamLane, KeepsLittleOfWhatHostileMessagesHad) {
  StreamLane<StreamScorer> lane(nullptr, nullptr, nullptr);
  const std::string large(size_t{1} << 20, 'x');
  for (const bool large_values : {false, true}) {
    auto exchange = lane.MakeExchange();
    exchange->request.mutable_model()->set_name(large);
    exchange->request.GetReflection()->MutableUnknownFields(&exchange->request)->AddLengthDelimited(1000, large);
    exchange->request.mutable_values()->Resize(large_values ? 1 << 18 : 38, 0);
    exchange->response.add_verdicts();
    const auto* used = exchange.get();
    lane.Recycle(std::move(exchange), /*reply_bytes=*/100);
    exchange = lane.MakeExchange();
    EXPECT_TRUE(large_values || exchange.get() == used);
    EXPECT_EQ(exchange->response.verdicts_size(), 0);
    EXPECT_LT(exchange->request.SpaceUsedLong(), 2000u);
  }
}

// What a message was used for before is not seen.
TEST(Stream, RepliesAfterAnAlarmAreThoseOfANewServer) {
  v1::AlarmRecipe alarm;
  alarm.set_raise_rows(1);
  alarm.set_of_rows(1);
  std::vector<float> odd = TinyRows(3, 3, 5);
  for (size_t row = 0; row < 3; ++row) odd[row * 3 + 1] += 50;
  v1::ScoreStreamRequest full = MakeStreamRequest(odd, "an id of more than twenty bytes");
  full.set_entity("an entity of more than twenty bytes");
  full.mutable_options()->set_reconstruction(true);
  full.mutable_options()->set_code(true);
  for (const double time : {1000, 1000, 999}) full.add_time_unix_seconds(time);  // two of them unscored
  const v1::ScoreStreamRequest plain = MakeStreamRequest(TinyRows(2, 3, 6));
  const auto replies = [](RunningServer* server, const v1::ScoreStreamRequest& request, int times) {
    grpc::ClientContext context;
    const auto stream = server->detection().ScoreStream(&context);
    std::string bytes;
    v1::ScoreResponse response;
    for (int i = 0; i < times; ++i) {
      EXPECT_TRUE(stream->Write(request) && stream->Read(&response));
      bytes += response.DebugString();
    }
    stream->WritesDone();
    EXPECT_TRUE(stream->Finish().ok());
    return bytes;
  };
  RunningServer used({.alarm = alarm}), fresh({.alarm = alarm});
  EXPECT_THAT(replies(&used, full, 5), HasSubstr("contributions"));
  EXPECT_EQ(replies(&used, plain, 3), replies(&fresh, plain, 3));
}

TEST(Stream, AnEntitysNameIsCapped) {
  RunningServer server({.window = 3});
  grpc::ClientContext context;
  const auto stream = server.detection().ScoreStream(&context);
  v1::ScoreStreamRequest request = MakeStreamRequest(TinyRows(1, 3, 1));
  request.set_entity(std::string(257, 'x'));
  stream->Write(request);
  stream->WritesDone();
  v1::ScoreResponse response;
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(stream->Finish().error_message(), "entity: expected at most 256 bytes, got 257");
}

TEST(Stream, ABadMessageEndsItAfterTheGoodOnesWereAnswered) {
  RunningServer server;
  grpc::ClientContext context;
  const auto stream = server.detection().ScoreStream(&context);
  const std::vector<float> rows = TinyRows(2, 3, 5);
  ASSERT_TRUE(stream->Write(MakeStreamRequest(rows, "good")));
  ASSERT_TRUE(stream->Write(MakeStreamRequest(std::span(rows).first(4), "bad")));
  v1::ScoreResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.id(), "good");
  EXPECT_FALSE(stream->Read(&response));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("values: expected a multiple of 3"));
}

TEST(Stream, AnUnknownModelIsNotFound) {
  RunningServer server;
  grpc::ClientContext context;
  const auto stream = server.detection().ScoreStream(&context);
  v1::ScoreStreamRequest request = MakeStreamRequest(TinyRows(1, 3, 5));
  request.mutable_model()->set_name("pmp");
  stream->Write(request);
  v1::ScoreResponse response;
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(stream->Finish().error_code(), grpc::NOT_FOUND);
}

TEST(Stream, AWriterThatNeverReadsIsHeldBackAndCancelIsHandled) {
  const TemporaryFolder temporary;
  const std::filesystem::path& models = temporary.path();
  WriteTinyArtifact(models);
  RunningServer server(RunningServer::DefaultConfig(models));
  grpc::ClientContext context;
  const auto stream = server.detection().ScoreStream(&context);
  const v1::ScoreStreamRequest request = MakeStreamRequest(TinyRows(20000, 3, 5));
  std::thread writer([&] {
    // Ends when the stream is cancelled below; without flow control it would have written all of them before.
    for (int i = 0; i < 2000 && stream->Write(request); ++i) {
    }
  });
  v1::ScoreResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(server.Metric("astray_streams_active"), 1);
  context.TryCancel();
  writer.join();
  EXPECT_EQ(stream->Finish().error_code(), grpc::CANCELLED);
  server.server().Drain();
}

TEST(Stream, APromotionHoldsFromTheNextMessageOn) {
  RunningServer server;
  v1::CalibrateHeader header;
  header.mutable_model()->set_name("pump");
  grpc::ClientContext context;
  const auto stream = server.detection().ScoreStream(&context);
  const std::vector<float> rows = TinyRows(100, 3, 5);
  v1::ScoreResponse response;
  ASSERT_TRUE(stream->Write(MakeStreamRequest(rows)));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.provenance().calibration_epoch(), 1u);
  header.set_promote(true);
  v1::CalibrateResponse calibrated;
  ASSERT_TRUE(server.Calibrate(header, rows, &calibrated).ok());
  ASSERT_TRUE(stream->Write(MakeStreamRequest(rows)));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.provenance().calibration_epoch(), 2u);
  EXPECT_EQ(response.provenance().threshold(), calibrated.calibration().threshold());
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST(Stream, AMessageThatIsNoneEndsItAsRefused) {
  RunningServer server;
  for (const std::string method : {"ScoreStream", "ScoreLogStream"}) {
    RawCall call(server.channel(), "/astray.v1.DetectionService/" + method);
    std::string reply;
    if (method == "ScoreStream") {
      EXPECT_TRUE(call.Write(MakeStreamRequest(TinyRows(1, 3, 1)).SerializeAsString()));
      EXPECT_TRUE(call.Read(&reply));
      v1::ScoreResponse response;
      EXPECT_TRUE(response.ParseFromString(reply));
      EXPECT_EQ(response.verdicts_size(), 1);
    }
    call.Write("\x0a\x02\xff\xff");
    call.WritesDone();
    const grpc::Status status = call.Finish();
    EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
    EXPECT_EQ(status.error_message(), absl::StrCat("message: expected one of type astray.v1.",
                                                   method == "ScoreStream" ? "ScoreStreamRequest" : "ScoreLogsRequest",
                                                   ", got 4 bytes that are none"));
    EXPECT_EQ(server.Metric("astray_requests_total{code=\"INVALID_ARGUMENT\",method=\"" + method + "\"}"), 1);
  }
}

}  // namespace
}  // namespace astray
