#include "tests/bench/bench_server.h"

#include <sched.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "astray/v1/service.pb.h"
#include "grpcpp/impl/codegen/rpc_service_method.h"
#include "grpcpp/impl/codegen/service_type.h"
#include "server/log.h"
#include "server/server.h"
#include "server/unary_slots.h"

namespace astray::bench {
namespace {

class EmptyService final : public grpc::Service {
 public:
  EmptyService() {
    AddMethod(
        new grpc::internal::RpcServiceMethod(kEmptyMethod, grpc::internal::RpcMethod::NORMAL_RPC, /*handler=*/nullptr));
    MarkMethodRaw(0);
  }
  void Request(grpc::ServerContext* context, grpc::ByteBuffer* request,
               grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>* writer, grpc::ServerCompletionQueue* queue,
               void* tag) {
    RequestAsyncUnary(0, context, request, writer, queue, queue, tag);
  }
};

class EmptySlots final : public UnarySlots<v1::ScoreRequest, v1::ScoreResponse> {
 public:
  EmptySlots(EmptyService* service, Lane* lane) : UnarySlots(lane), service_(service) {}

 private:
  void Post(grpc::ServerContext* context, grpc::ByteBuffer* request, Writer* writer, LaneTag* tag) override {
    service_->Request(context, request, writer, lane().queue(), tag);
  }
  void Handle(Slot* slot) override { slot->Finish(grpc::Status::OK); }

  EmptyService* const service_;
};

class EmptyMethod final : public LaneExtension {
 public:
  grpc::Service* service() override { return &service_; }
  void Post(Lane* lane) override {
    slots_.push_back(std::make_unique<EmptySlots>(&service_, lane));
    slots_.back()->PostAll();
  }

 private:
  EmptyService service_;
  std::vector<std::unique_ptr<EmptySlots>> slots_;
};

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "rpc_bench: %s\n", what.c_str());
  std::exit(1);
}

}  // namespace

void PinToCores(const std::vector<int>& cores) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(core, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0)
    Fail(absl::StrCat("cannot run on cores ", absl::StrJoin(cores, ",")));
}

int ServeUntilClosed(const std::filesystem::path& models, const std::vector<int>& cores) {
  PinToCores(cores);
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);  // as astrayd does
  ConfigureLogging("error");
  ServerConfig config;
  config.model_base_path = models;
  config.port = 0;
  config.http_port = 0;
  config.workers = cores.size();
  config.poll_interval = absl::ZeroDuration();
  EmptyMethod empty;
  const auto server = Server::Start(config, &empty);
  if (!server.ok() || !(*server)->AwaitReady(absl::Seconds(60))) Fail("the server does not start");
  std::printf("%d\n", (*server)->grpc_port());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  (*server)->Drain();
  return 0;
}

BenchServer::BenchServer(const std::filesystem::path& models, const std::vector<int>& cores) {
  int input[2], output[2];
  if (pipe(input) != 0 || pipe(output) != 0) Fail("pipe");
  const std::string models_text = models.string(), cores_text = absl::StrJoin(cores, ",");
  pid_ = fork();
  if (pid_ == 0) {
    dup2(input[0], STDIN_FILENO);
    dup2(output[1], STDOUT_FILENO);
    for (const int end : {input[0], input[1], output[0], output[1]}) close(end);
    execl("/proc/self/exe", "rpc_bench", "--serve", models_text.c_str(), cores_text.c_str(), nullptr);
    _exit(127);
  }
  close(input[0]);
  close(output[1]);
  stdin_ = input[1];
  int port = 0;
  FILE* reader = fdopen(output[0], "r");
  if (std::fscanf(reader, "%d", &port) != 1) Fail("the server does not start");
  std::fclose(reader);
  address_ = absl::StrCat("127.0.0.1:", port);
}

BenchServer::~BenchServer() {
  close(stdin_);
  waitpid(pid_, nullptr, 0);
}

double BenchServer::CpuSeconds() const {
  clockid_t clock;
  timespec now;
  if (clock_getcpuclockid(pid_, &clock) != 0 || clock_gettime(clock, &now) != 0) Fail("the server is gone");
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace astray::bench
