#include "client/load_generator.h"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cmath>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "client/client.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

class Worker {
 public:
  Worker(const LoadOptions& options, std::span<const float> rows, size_t features, size_t number)
      : options_(options), rows_(rows), message_size_(options.message_rows * features) {
    client_ = Client::Connect(options.target, {.own_connection = true});
    *request_.mutable_model() = *stream_request_.mutable_model() = options.model;
    // A prime stride keeps the workers from sending the same rows in step.
    constexpr size_t kStride = 7919;
    next_ = number * kStride % (rows.size() / features) * features;
  }

  // Connects, sends one message and waits for its reply.
  absl::Status WarmUp() {
    if (options_.stream) call_ = client_->ScoreStream();
    RETURN_IF_ERROR(SendOne());
    rows_scored_ = rejected_ = 0;
    return absl::OkStatus();
  }

  absl::Status RunUntil(absl::Time end, const std::atomic<bool>& stop) {
    while (!stop.load(std::memory_order_relaxed)) {
      const absl::Time begin = absl::Now();
      if (begin >= end) break;
      const uint64_t rejected = rejected_;
      RETURN_IF_ERROR(SendOne());
      if (rejected_ == rejected) latencies_.push_back(static_cast<float>(absl::ToDoubleSeconds(absl::Now() - begin)));
    }
    return absl::OkStatus();
  }

  uint64_t rows_scored() const { return rows_scored_; }
  uint64_t rejected() const { return rejected_; }
  const std::vector<float>& latencies() const { return latencies_; }

 private:
  absl::Status SendOne() {
    if (next_ + message_size_ > rows_.size()) next_ = 0;
    const std::span<const float> message = rows_.subspan(next_, message_size_);
    next_ += message_size_;
    const absl::Status status = options_.stream ? SendOnStream(message) : Call(message);
    if (!options_.stream && absl::IsResourceExhausted(status)) {
      ++rejected_;
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(status);
    for (const v1::Verdict& verdict : response_.verdicts())
      rows_scored_ += verdict.state() == v1::Verdict::SCORED ? 1 : 0;
    return absl::OkStatus();
  }

  absl::Status Call(std::span<const float> message) {
    request_.mutable_values()->Assign(message.begin(), message.end());
    return client_->Score(request_, &response_);
  }

  absl::Status SendOnStream(std::span<const float> message) {
    stream_request_.mutable_values()->Assign(message.begin(), message.end());
    if (call_->Write(stream_request_) && call_->Read(&response_)) return absl::OkStatus();
    const absl::Status status = call_->Finish();
    return status.ok() ? absl::InternalError("the server ended the stream") : status;
  }

  const LoadOptions& options_;
  std::span<const float> rows_;
  size_t message_size_, next_ = 0;
  std::unique_ptr<Client> client_;
  std::unique_ptr<ScoreStreamCall> call_;
  v1::ScoreRequest request_;
  v1::ScoreStreamRequest stream_request_;
  v1::ScoreResponse response_;
  uint64_t rows_scored_ = 0, rejected_ = 0;
  std::vector<float> latencies_;  // seconds
};

// The q-quantile of ascending values, by the nearest rank.
double Quantile(const std::vector<float>& sorted, double q) {
  if (sorted.empty()) return 0;
  const auto rank = static_cast<size_t>(std::ceil(q * static_cast<double>(sorted.size())));
  return sorted[std::clamp<size_t>(rank, 1, sorted.size()) - 1];
}

v1::BenchReport Summarise(const std::vector<std::unique_ptr<Worker>>& workers, const LoadOptions& options,
                          absl::Duration elapsed) {
  std::vector<float> latencies;
  uint64_t rows = 0, rejected = 0;
  for (const auto& worker : workers) {
    latencies.insert(latencies.end(), worker->latencies().begin(), worker->latencies().end());
    rows += worker->rows_scored();
    rejected += worker->rejected();
  }
  std::sort(latencies.begin(), latencies.end());
  v1::BenchReport report;
  report.set_concurrency(static_cast<uint32_t>(options.concurrency));
  report.set_batch_rows(static_cast<uint32_t>(options.message_rows));
  report.set_seconds(absl::ToDoubleSeconds(elapsed));
  report.set_messages(static_cast<double>(latencies.size()));
  report.set_rows(static_cast<double>(rows));
  report.set_messages_per_second(report.messages() / report.seconds());
  report.set_rows_per_second(report.rows() / report.seconds());
  report.set_rejected(static_cast<double>(rejected));
  report.set_latency_p50_seconds(Quantile(latencies, 0.5));
  report.set_latency_p90_seconds(Quantile(latencies, 0.9));
  report.set_latency_p99_seconds(Quantile(latencies, 0.99));
  report.set_latency_max_seconds(Quantile(latencies, 1));
  return report;
}

}  // namespace

absl::StatusOr<v1::BenchReport> GenerateLoad(const LoadOptions& options, std::span<const float> rows, size_t features) {
  std::vector<std::unique_ptr<Worker>> workers;
  for (size_t i = 0; i < options.concurrency; ++i) {
    workers.push_back(std::make_unique<Worker>(options, rows, features, i));
  }
  std::vector<absl::Status> statuses(workers.size());
  std::atomic<bool> stop = false;
  absl::Time begin;
  std::barrier ready(static_cast<std::ptrdiff_t>(workers.size()), [&]() noexcept { begin = absl::Now(); });
  std::vector<std::thread> threads;
  for (size_t i = 0; i < workers.size(); ++i) {
    threads.emplace_back([&, i] {
      statuses[i] = workers[i]->WarmUp();
      if (!statuses[i].ok()) stop = true;
      ready.arrive_and_wait();
      if (statuses[i].ok()) statuses[i] = workers[i]->RunUntil(begin + options.duration, stop);
      if (!statuses[i].ok()) stop = true;
    });
  }
  for (std::thread& thread : threads) thread.join();
  const absl::Duration elapsed = absl::Now() - begin;
  for (const absl::Status& status : statuses) RETURN_IF_ERROR(status);
  return Summarise(workers, options, elapsed);
}

}  // namespace astray
