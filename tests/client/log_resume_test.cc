// `astray score` of a log whose server goes away and comes back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/log_scoring.h"
#include "tests/client/log_commands.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

// A server of "m" that comes back on its port, and what `astray score` makes of a log that it breaks off.
class ResumedLog : public LogCommands {
 protected:
  void SetUp() override {
    ASSERT_EQ(Train(Write("train.log", Requests(400)), {"--recipe=" + Recipe()}).code, 0);
    std::set<int> odd;
    for (int i = 7; i < kSessions; i += 50) odd.insert(i);
    flags_.data = Write("live.log", Requests(kSessions, odd));
    StartServer();
    flags_.on_broken = [this](const absl::Status&) { ++broken_; };
  }
  void StartServer() {
    ServerConfig config = RunningServer::DefaultConfig(Path("models"));
    config.port = port_;
    config.drain_timeout = absl::Seconds(1);
    resumed_ = std::make_unique<RunningServer>(config);
    port_ = resumed_->server().grpc_port();
    flags_.server.server = absl::StrCat("127.0.0.1:", port_);
    flags_.server.model = "m";
  }
  void StopServer() {
    resumed_->server().Drain();
    resumed_.reset();
  }
  // Calls `watch` with the number of sessions so far, after each.
  absl::Status Score(const std::function<void(size_t)>& watch) {
    sessions_.clear();
    return ScoreLog(flags_, {}, [&](const v1::SessionVerdict& session) {
      sessions_.push_back(session.SerializeAsString());
      watch(sessions_.size());
    });
  }

  static constexpr int kSessions = 60'000;
  FileScoringFlags flags_;
  uint16_t port_ = 0;
  std::unique_ptr<RunningServer> resumed_;
  int broken_ = 0;
  std::vector<std::string> sessions_;
};

TEST_F(ResumedLog, GoesOnWithTheSameSessionsEachOnce) {
  FileScoringFlags offline;
  offline.offline = true;
  offline.server.model = Path("models") + "/m/1";
  offline.data = flags_.data;
  std::vector<std::string> expected;
  ASSERT_TRUE(ScoreLog(offline, {}, [&](const v1::SessionVerdict& session) {
                expected.push_back(session.SerializeAsString());
              }).ok());
  ASSERT_EQ(expected.size(), static_cast<size_t>(kSessions));
  int restarts = 0;
  const absl::Status status = Score([&](size_t sessions) {
    // The first one that the second stream brings breaks that, too, unless the server has answered all by then.
    if (sessions != 400 && (broken_ == 0 || restarts == 2)) return;
    ++restarts;
    StopServer();
    StartServer();
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_GE(broken_, 1);
  EXPECT_EQ(restarts, 2);
  EXPECT_EQ(sessions_, expected);
}

TEST_F(ResumedLog, AServerThatStaysAwayIsUnavailable) {
  flags_.give_up_seconds = 0.3;
  const absl::Status status = Score([&](size_t sessions) {
    if (sessions == 400) StopServer();
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_GE(sessions_.size(), 400u);
}

TEST_F(ResumedLog, AFileThatMakesOtherSessionsEndsIt) {
  const absl::Status status = Score([&](size_t sessions) {
    if (sessions != 400) return;
    StopServer();
    Write("live.log", Requests(kSessions, {3, 4, 5}));
    StartServer();
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("live.log sent again made other sessions than before"));
  EXPECT_LT(sessions_.size(), static_cast<size_t>(kSessions));
}

TEST_F(ResumedLog, LinesThatCannotBeReadAgainEndIt) {
  flags_.follow = true;
  const absl::Status status = Score([&](size_t sessions) {
    if (sessions != 400) return;
    StopServer();
    StartServer();
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("only the lines of a file can be sent again"));
}

TEST_F(ResumedLog, OneThatNeverAnswersIsNotTriedAgain) {
  StopServer();
  EXPECT_EQ(Score([](size_t) {}).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(broken_, 0);
}

}  // namespace
}  // namespace astray
