// astrayd as a process: its exit codes, its signals, and what a SIGKILL leaves.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/testing/running_server.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

using testing::HasSubstr;

class Astrayd {
 public:
  explicit Astrayd(std::vector<std::string> flags) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) std::abort();
    flags.insert(flags.begin(), ASTRAYD_BINARY);
    std::vector<char*> argv;
    for (std::string& flag : flags) argv.push_back(flag.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(ends[1], STDERR_FILENO);
      execv(argv[0], argv.data());
      _exit(127);
    }
    close(ends[1]);
    stderr_ = fdopen(ends[0], "r");
  }
  ~Astrayd() {
    if (pid_ > 0) Kill(SIGKILL);
    fclose(stderr_);
  }

  // Reads the log up to the line that has `text`; empty where it ends before.
  std::string LineWith(const std::string& text) {
    char line[4096];
    while (fgets(line, sizeof(line), stderr_) != nullptr) {
      if (std::string(line).find(text) != std::string::npos) return line;
    }
    return "";
  }
  std::string RestOfLog() {
    std::string log;
    char line[4096];
    while (fgets(line, sizeof(line), stderr_) != nullptr) log += line;
    return log;
  }
  void Signal(int signal) const { kill(pid_, signal); }
  // The exit code, or minus the signal.
  int Wait() {
    int status = 0;
    waitpid(std::exchange(pid_, 0), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  int Kill(int signal) {
    Signal(signal);
    return Wait();
  }
  std::shared_ptr<grpc::Channel> ConnectWhenReady() {
    const std::string line = LineWith("astrayd ready: grpc ");
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    for (size_t i = 0; i + 1 < words.size(); ++i) {
      if (words[i] == "grpc") return grpc::CreateChannel(words[i + 1], grpc::InsecureChannelCredentials());
    }
    return nullptr;
  }

 private:
  pid_t pid_ = 0;
  FILE* stderr_ = nullptr;
};

std::vector<std::string> Flags(const std::filesystem::path& models) {
  return {absl::StrCat("--model-base-path=", models.string()), "--port=0", "--http-port=0", "--poll-interval=0.005"};
}

TEST(Process, SigtermAndSigintStopItCleanly) {
  const TemporaryFolder temporary;
  const std::filesystem::path& models = temporary.path();
  WriteTinyArtifact(models);
  for (const int signal : {SIGTERM, SIGINT}) {
    Astrayd astrayd(Flags(models));
    EXPECT_THAT(astrayd.LineWith("ready"), HasSubstr(", 1 model\n"));
    EXPECT_EQ(astrayd.Kill(signal), 0);
  }
}

TEST(Process, MistakesHaveOneLineAndTheirExitCode) {
  const auto expect = [](std::vector<std::string> flags, int code, const std::string& text) {
    Astrayd astrayd(std::move(flags));
    const std::string log = astrayd.RestOfLog();
    EXPECT_EQ(astrayd.Wait(), code) << log;
    EXPECT_THAT(log, HasSubstr(text));
    return log;
  };
  const TemporaryFolder temporary;
  const std::filesystem::path& models = temporary.path();
  EXPECT_EQ(expect(Flags(models / "none"), 78, "model_base_path: cannot read the folder").back(), '\n');
  expect({"--porrt=1"}, 64, "--porrt=1");
  expect({"--port=70000"}, 78, "port: expected 0 to 65535, got 70000");
  RunningServer server(RunningServer::DefaultConfig(models));
  std::vector<std::string> flags = Flags(models);
  flags.push_back(absl::StrCat("--port=", server.server().grpc_port()));
  flags.erase(flags.begin() + 1);
  const std::string log = expect(flags, 1, "astrayd: grpc: cannot listen on 127.0.0.1:");
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << log;
}

// Promotes ever new calibrations while versions are being reloaded, until the server is killed; what it said was done
// must be so after a restart.
TEST(Process, KilledDuringCalibrationsItStartsWithTheOldOrTheNewState) {
  const TemporaryFolder temporary;
  const std::filesystem::path& models = temporary.path();
  const auto artifact = WriteTinyArtifact(models);
  const std::vector<float> rows = TinyRows(200, 3, 5);
  uint64_t acknowledged = 1;
  double threshold = 0;
  for (int round = 0; round < 8; ++round) {
    Astrayd astrayd(Flags(models));
    const auto channel = astrayd.ConnectWhenReady();
    ASSERT_NE(channel, nullptr);
    const auto stub = v1::DetectionService::NewStub(channel);

    // What the last round left: acknowledged, or the next, which was being made.
    grpc::ClientContext context;
    v1::ScoreResponse scored;
    const grpc::Status status = stub->Score(&context, MakeScoreRequest("pump", TinyRows(1, 3, 1)), &scored);
    ASSERT_TRUE(status.ok()) << status.error_message();
    const uint64_t live = scored.provenance().calibration_epoch();
    ASSERT_TRUE(live == acknowledged || live == acknowledged + 1) << live << " after " << acknowledged;
    if (live == acknowledged && threshold != 0) {
      EXPECT_EQ(scored.provenance().threshold(), threshold);
    }

    std::atomic<int> calibrations{0};
    std::thread client([&] {
      for (int i = 1;; ++i) {
        grpc::ClientContext call;
        v1::CalibrateResponse response;
        const auto writer = stub->Calibrate(&call, &response);
        v1::CalibrateRequest request;
        request.mutable_header()->mutable_model()->set_name("pump");
        request.mutable_header()->set_promote(true);
        writer->Write(request);
        for (const float value : rows) {
          request.mutable_rows()->add_values(value * (1 + 0.001f * static_cast<float>(i)));
        }
        writer->Write(request);
        writer->WritesDone();
        if (!writer->Finish().ok()) return;
        acknowledged = response.calibration().epoch();
        threshold = response.calibration().threshold();
        calibrations.fetch_add(1);
        calibrations.notify_one();
        std::filesystem::last_write_time(artifact / "report.json", std::filesystem::file_time_type::clock::now());
      }
    });
    for (int seen = 0; seen <= round; seen = calibrations.load()) calibrations.wait(seen);
    for (volatile int spin = 0; spin < round * 100000;) spin = spin + 1;
    EXPECT_EQ(astrayd.Kill(SIGKILL), -SIGKILL);
    client.join();
  }
}

}  // namespace
}  // namespace astray
