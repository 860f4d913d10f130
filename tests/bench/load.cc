#include "tests/bench/load.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "astray/v1/service.grpc.pb.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"

namespace astray::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Stub = grpc::TemplatedGenericStub<v1::ScoreRequest, v1::ScoreResponse>;

constexpr auto kWarm = std::chrono::milliseconds(50);  // not measured

double Seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

std::shared_ptr<grpc::Channel> Connect(const BenchServer& server) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(server.address(), grpc::InsecureChannelCredentials(), arguments);
}

void Expect(const grpc::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "rpc_bench: a call failed: %d %s\n", status.error_code(), status.error_message().c_str());
  std::exit(1);
}

struct PendingCall {
  std::optional<grpc::ClientContext> context;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v1::ScoreResponse>> reader;
  v1::ScoreResponse response;
  grpc::Status status;
  Clock::time_point due;
};

void Begin(PendingCall* call, Stub* stub, const std::string& method, const v1::ScoreRequest& request,
           grpc::CompletionQueue* queue) {
  call->reader.reset();
  call->context.emplace();
  call->reader = stub->PrepareUnaryCall(&*call->context, method, request, queue);
  call->reader->StartCall();
  call->reader->Finish(&call->response, &call->status, call);
}

// The measured time: from when all clients are warm to when the time is over.
class Measured {
 public:
  explicit Measured(const BenchServer& server, double seconds) : server_(server), seconds_(seconds) {}
  // Runs client(i, count): count(n) answers.
  Throughput Run(size_t clients, const std::function<void(size_t client, std::atomic<uint64_t>* answers)>& client) {
    std::vector<std::atomic<uint64_t>> answers(clients);
    std::vector<std::thread> threads;
    for (size_t i = 0; i < clients; ++i) threads.emplace_back([&, i] { client(i, &answers[i]); });
    const auto sum = [&] {
      uint64_t all = 0;
      for (const auto& one : answers) all += one.load(std::memory_order_relaxed);
      return static_cast<double>(all);
    };
    std::this_thread::sleep_for(kWarm);
    const double answers_before = sum(), cpu = server_.CpuSeconds();
    const auto begin = Clock::now();
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds_));
    Throughput throughput;
    throughput.answers = sum() - answers_before;
    throughput.cpu_seconds = server_.CpuSeconds() - cpu;
    throughput.wall_seconds = Seconds(Clock::now() - begin);
    over_ = true;
    for (std::thread& thread : threads) thread.join();
    return throughput;
  }
  bool over() const { return over_.load(std::memory_order_relaxed); }

 private:
  const BenchServer& server_;
  const double seconds_;
  std::atomic<bool> over_{false};
};

class StreamClient {
 public:
  StreamClient(const BenchServer& server, const v1::ScoreStreamRequest& request, size_t in_flight)
      : stub_(v1::DetectionService::NewStub(Connect(server))), request_(request), credit_(in_flight) {}

  void Run(const std::function<bool()>& over, std::atomic<uint64_t>* answers) {
    stream_ = stub_->AsyncScoreStream(&context_, &queue_, &started_);
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
      if (tag == &finished_) {
        Expect(status_);
        queue_.Shutdown();
        continue;
      }
      if (tag == &read_ && !ok) {
        stream_->Finish(&status_, &finished_);
        continue;
      }
      if (tag == &started_) Read();
      if (tag == &wrote_ || tag == &started_) writing_ = false;
      if (tag == &read_) {
        answers->fetch_add(1, std::memory_order_relaxed);
        ++credit_;
        Read();
      }
      Write(over());
    }
  }

 private:
  void Read() { stream_->Read(&response_, &read_); }
  void Write(bool over) {
    if (writing_ || ended_) return;
    if (over) {
      ended_ = writing_ = true;
      stream_->WritesDone(&wrote_);
    } else if (credit_ > 0) {
      --credit_;
      writing_ = true;
      // As any client would that has more to say.
      stream_->Write(request_, credit_ > 0 ? grpc::WriteOptions().set_buffer_hint() : grpc::WriteOptions(), &wrote_);
    }
  }

  std::unique_ptr<v1::DetectionService::Stub> stub_;
  const v1::ScoreStreamRequest& request_;
  size_t credit_;
  bool writing_ = true, ended_ = false;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<v1::ScoreStreamRequest, v1::ScoreResponse>> stream_;
  v1::ScoreResponse response_;
  grpc::Status status_;
  char started_ = 0, wrote_ = 0, read_ = 0, finished_ = 0;  // tags
};

}  // namespace

Throughput CallClosed(const BenchServer& server, const std::string& method, const v1::ScoreRequest& request,
                      const Load& load) {
  Measured measured(server, load.seconds);
  return measured.Run(load.clients, [&](size_t, std::atomic<uint64_t>* answers) {
    Stub stub(Connect(server));
    grpc::CompletionQueue queue;
    std::vector<PendingCall> calls(std::max<size_t>(1, load.in_flight / load.clients));
    for (PendingCall& call : calls) Begin(&call, &stub, method, request, &queue);
    void* tag = nullptr;
    bool ok = false;
    for (size_t open = calls.size(); open > 0;) {
      queue.Next(&tag, &ok);
      auto* call = static_cast<PendingCall*>(tag);
      Expect(call->status);
      answers->fetch_add(1, std::memory_order_relaxed);
      if (measured.over()) {
        --open;
      } else {
        Begin(call, &stub, method, request, &queue);
      }
    }
  });
}

Throughput StreamClosed(const BenchServer& server, const v1::ScoreStreamRequest& request, const Load& load) {
  Measured measured(server, load.seconds);
  return measured.Run(load.clients, [&](size_t, std::atomic<uint64_t>* answers) {
    StreamClient client(server, request, load.in_flight / load.clients);
    client.Run([&] { return measured.over(); }, answers);
  });
}

Paced CallOpen(const BenchServer& server, const std::string& method, const v1::ScoreRequest& request,
               double calls_per_second, const Load& load) {
  std::vector<std::vector<double>> latencies(load.clients);
  const double cpu = server.CpuSeconds();
  const auto begin = Clock::now();
  std::vector<std::thread> threads;
  for (size_t i = 0; i < load.clients; ++i) {
    threads.emplace_back([&, i] {
      Stub stub(Connect(server));
      grpc::CompletionQueue queue;
      std::deque<PendingCall> calls;
      std::vector<PendingCall*> spare;
      const auto take = [&] {
        if (!spare.empty()) {
          PendingCall* call = spare.back();
          spare.pop_back();
          return call;
        }
        return &calls.emplace_back();
      };
      const std::chrono::duration<double> gap(static_cast<double>(load.clients) / calls_per_second);
      const auto step = std::chrono::duration_cast<Clock::duration>(gap);
      const auto warm = Clock::now() + kWarm;
      const auto end = warm + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(load.seconds));
      auto due = Clock::now() + step * static_cast<int>(i) / static_cast<int>(load.clients);
      size_t open = 0;
      while (open > 0 || due < end) {
        while (due < end && due <= Clock::now()) {
          PendingCall* call = take();
          call->due = due;
          Begin(call, &stub, method, request, &queue);
          ++open;
          due += step;
        }
        void* tag = nullptr;
        bool ok = false;
        // Looks again and again, for a thread that sleeps wakes up late; gRPC's own threads may come between.
        if (queue.AsyncNext(&tag, &ok, gpr_inf_past(GPR_CLOCK_MONOTONIC)) != grpc::CompletionQueue::GOT_EVENT) {
          std::this_thread::yield();
          continue;
        }
        auto* call = static_cast<PendingCall*>(tag);
        Expect(call->status);
        if (call->due >= warm) latencies[i].push_back(Seconds(Clock::now() - call->due));
        spare.push_back(call);
        --open;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Paced paced;
  paced.server_busy = (server.CpuSeconds() - cpu) / Seconds(Clock::now() - begin);
  for (const auto& one : latencies) paced.latencies.insert(paced.latencies.end(), one.begin(), one.end());
  return paced;
}

v1::ScoreResponse CallOnce(const BenchServer& server, const std::string& method, const v1::ScoreRequest& request) {
  Stub stub(Connect(server));
  grpc::CompletionQueue queue;
  PendingCall call;
  Begin(&call, &stub, method, request, &queue);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  Expect(call.status);
  return call.response;
}

}  // namespace astray::bench
