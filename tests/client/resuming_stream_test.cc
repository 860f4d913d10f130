// A stream whose server goes away and comes back on the same port.
#include "client/resuming_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <limits>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "tests/testing/running_server.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

constexpr size_t kFeatures = 3, kWindow = 4;

class ResumingStreamTest : public testing::Test {
 protected:
  void SetUp() override {
    v1::AlarmRecipe alarm;
    alarm.set_clear_rows(3);
    alarm.set_smoothing_rows(2);
    WriteTinyArtifact(models_, {.window = kWindow, .alarm = alarm});
    StartServer();
    client_ = Client::Connect(absl::StrCat("127.0.0.1:", port_), {});
    v1::ModelRef ref;
    ref.set_name("pump");
    const auto described = client_->DescribeModel(ref);
    ASSERT_TRUE(described.ok()) << described.status();
    options_.model = ref;
    options_.features = kFeatures;
    options_.memory_rows = described->memory_rows();
    options_.on_broken = [this](const absl::Status&) { ++broken_; };
  }
  void StartServer() {
    ServerConfig config = RunningServer::DefaultConfig(models_);
    config.port = port_;
    config.drain_timeout = absl::Seconds(1);
    server_ = std::make_unique<RunningServer>(config);
    port_ = server_->server().grpc_port();
  }

  const TemporaryFolder folder_;
  const std::filesystem::path models_ = folder_.path();
  uint16_t port_ = 0;
  std::unique_ptr<RunningServer> server_;
  std::unique_ptr<Client> client_;
  ResumingStream::Options options_;
  std::atomic<int> broken_ = 0;
};

v1::ScoreStreamRequest RowOf(const std::string& entity, const std::vector<float>& rows, size_t row) {
  v1::ScoreStreamRequest request;
  request.set_entity(entity);
  request.set_segment(row / 3 % 2 == 0 ? "low" : "high");
  request.set_id(absl::StrCat(entity, "/", row));
  request.mutable_values()->Add(rows.data() + row * kFeatures, rows.data() + (row + 1) * kFeatures);
  request.add_time_unix_seconds(static_cast<double>(row));
  return request;
}

// Every row of every entity has one verdict, the one that it has where nothing breaks, alarms included.
TEST_F(ResumingStreamTest, GoesOnWithTheSameVerdicts) {
  constexpr size_t kEntities = 20, kRows = 60;
  // Two segments with thresholds far apart: what is replayed must have the one that it had.
  v1::CalibrateHeader header;
  header.mutable_model()->set_name("pump");
  header.set_promote(true);
  int parts = 0;
  const auto calibrated = client_->Calibrate(header, [&](v1::CalibrateRequest* request) -> absl::StatusOr<bool> {
    if (parts == 2) return false;
    request->mutable_rows()->set_segment(parts == 0 ? "low" : "high");
    request->mutable_rows()->set_entity(parts == 0 ? "low" : "high");
    for (const float value : TinyRows(200, kFeatures, 7)) {
      request->mutable_rows()->add_values(parts == 0 ? value : 1.2f * value);
    }
    ++parts;
    return true;
  });
  ASSERT_TRUE(calibrated.ok()) << calibrated.status();
  std::vector<std::vector<float>> rows;
  for (size_t e = 0; e < kEntities; ++e) {
    rows.push_back(TinyRows(kRows, kFeatures, 50 + e));
    for (size_t row = 15 + e; row < 30 + e / 2; ++row)
      rows[e][row * kFeatures + e % kFeatures] += 20;  // an alarm or more
  }
  const auto run = [&](const std::function<void(size_t written)>& before_write,
                       const std::function<void(size_t answered)>& watch) {
    std::map<std::string, v1::ScoreResponse> replies;
    ResumingStream stream(client_.get(), options_);
    std::thread writer([&] {
      for (size_t row = 0; row < kRows; ++row) {
        for (size_t e = 0; e < kEntities; ++e) {
          before_write(row * kEntities + e);
          ASSERT_TRUE(stream.Write(RowOf(absl::StrCat(e), rows[e], row)));
        }
      }
      stream.WritesDone();
    });
    v1::ScoreResponse response;
    while (stream.Read(&response)) {
      EXPECT_TRUE(replies.emplace(response.id(), response).second) << response.id() << " was answered twice";
      watch(replies.size());
    }
    writer.join();
    EXPECT_TRUE(stream.Finish().ok()) << stream.Finish();
    return replies;
  };
  const auto expected = run([](size_t) {}, [](size_t) {});
  ASSERT_EQ(expected.size(), kEntities * kRows);
  // Each server goes away once it has answered 200 of its 300 rows, the last of which is written when it is gone: so a
  // stream is open then, and there are rows that it never answers.
  constexpr int kServers = kEntities * kRows / 300;
  std::array<absl::Notification, kServers> gone;
  const auto got = run(
      [&](size_t written) {
        if (written % 300 != 299) return;
        EXPECT_TRUE(gone[written / 300].WaitForNotificationWithTimeout(absl::Seconds(60))) << "after row " << written;
      },
      [&](size_t answered) {
        if (answered % 300 != 200) return;
        server_->server().Drain();
        server_.reset();
        gone[answered / 300].Notify();
        StartServer();
      });
  for (const absl::Notification& each : gone) EXPECT_TRUE(each.HasBeenNotified());
  EXPECT_EQ(broken_, kServers);
  ASSERT_EQ(got.size(), expected.size());
  size_t alarms = 0;
  for (const auto& [id, reply] : expected) {
    const v1::Verdict& want = reply.verdicts(0);
    const v1::Verdict& have = got.at(id).verdicts(0);
    ASSERT_EQ(have.state(), want.state()) << id;
    ASSERT_EQ(have.score(), want.score()) << id;
    ASSERT_EQ(have.threshold(), want.threshold()) << id;
    ASSERT_EQ(have.alarm().state(), want.alarm().state()) << id;
    ASSERT_EQ(have.alarm().rows(), want.alarm().rows()) << id;
    alarms += want.alarm().state() == v1::Alarm::RAISED ? 1 : 0;
  }
  EXPECT_GE(alarms, kEntities);
}

// More rows wait for late ones than a client without that may have unanswered.
TEST_F(ResumingStreamTest, RowsThatAllWaitDoNotStopTheWriter) {
  v1::StreamRecipe stream_recipe;
  stream_recipe.set_tolerance_seconds(1e6);
  WriteTinyArtifact(models_, {.name = "patient", .stream = stream_recipe});
  ASSERT_TRUE(client_->LoadModel("patient").ok());
  options_.model.set_name("patient");
  options_.max_unanswered = std::numeric_limits<size_t>::max();
  ResumingStream stream(client_.get(), options_);
  constexpr size_t kEntities = 3 * ResumingStream::kMaxUnanswered;
  const std::vector<float> rows = TinyRows(1, kFeatures, 1);
  for (size_t e = 0; e < kEntities; ++e) ASSERT_TRUE(stream.Write(RowOf(absl::StrCat(e), rows, 0)));
  stream.WritesDone();
  v1::ScoreResponse response;
  size_t replies = 0;
  while (stream.Read(&response)) ++replies;
  EXPECT_TRUE(stream.Finish().ok()) << stream.Finish();
  EXPECT_EQ(replies, kEntities);
}

TEST_F(ResumingStreamTest, AStreamThatNeverHadAnAnswerIsNotTriedAgain) {
  server_->server().Drain();
  server_.reset();
  ResumingStream stream(client_.get(), options_);
  const std::vector<float> rows = TinyRows(1, kFeatures, 1);
  EXPECT_TRUE(stream.Write(RowOf("a", rows, 0)));
  v1::ScoreResponse response;
  EXPECT_FALSE(stream.Read(&response));
  EXPECT_EQ(stream.Finish().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(broken_, 0);
}

TEST_F(ResumingStreamTest, GivesUpWhereTheServerStaysAway) {
  options_.give_up_after = absl::Milliseconds(300);
  ResumingStream stream(client_.get(), options_);
  const std::vector<float> rows = TinyRows(2, kFeatures, 1);
  ASSERT_TRUE(stream.Write(RowOf("a", rows, 0)));
  v1::ScoreResponse response;
  ASSERT_TRUE(stream.Read(&response));
  server_->server().Drain();
  server_.reset();
  stream.Write(RowOf("a", rows, 1));
  EXPECT_FALSE(stream.Read(&response));
  EXPECT_EQ(stream.Finish().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(broken_, 1);
  EXPECT_FALSE(stream.Write(RowOf("a", rows, 1))) << "it is at its end";
}

TEST_F(ResumingStreamTest, AnErrorOfTheRequestIsFinal) {
  ResumingStream stream(client_.get(), options_);
  const std::vector<float> rows = TinyRows(2, kFeatures, 1);
  ASSERT_TRUE(stream.Write(RowOf("a", rows, 0)));
  v1::ScoreResponse response;
  ASSERT_TRUE(stream.Read(&response));
  v1::ScoreStreamRequest bad = RowOf("a", rows, 1);
  bad.mutable_values()->RemoveLast();
  ASSERT_TRUE(stream.Write(bad));
  EXPECT_FALSE(stream.Read(&response));
  EXPECT_EQ(stream.Finish().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace astray
