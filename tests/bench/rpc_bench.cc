// What a scored vector costs beside an empty RPC: the real server, one core of its own unless said, against a method on
// the same lanes that takes the same message and answers nothing. The server's processor time counts, so that what else
// runs on the machine does not; latencies are of the clock and want a quiet machine.
//
//   rpc_bench [ids...]   one line of JSON a result (measurement.h); without ids, all
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iterator>
#include <numeric>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "engine/detect/artifact.h"
#include "tests/bench/bench_server.h"
#include "tests/bench/load.h"
#include "tests/bench/measurement.h"
#include "tests/bench/shapes.h"
#include "tests/testing/temporary_folder.h"

namespace astray::bench {
namespace {

constexpr size_t kRounds = 7;
// Of calls, which are compared with calls: many short rounds, since the machine's mood changes from second to second.
constexpr size_t kCallRounds = 61;
constexpr double kCallSeconds = 0.15;
// Of them those count in which the server's core was busy so much of both turns. Elsewhere others had the clients'
// processors: the server waited, and its calls were paid with waking up.
constexpr double kLeastBusy = 0.7;
constexpr size_t kFewestCallRounds = 9, kMostCallRounds = 4 * kCallRounds;
constexpr double kGoalRowsPerSecond = 2.5e6;  // of S1 in large messages, a server core

const Shape& S1() { return Shapes()[0]; }
const Shape& S3() { return Shapes()[2]; }

v1::ScoreRequest RequestOf(const Shape& shape, size_t rows) {
  v1::ScoreRequest request;
  request.mutable_model()->set_name(shape.name);
  const std::vector<float> values = TinyRows(rows, shape.width, 3);
  request.mutable_values()->Add(values.begin(), values.end());
  return request;
}

double Divide(double ours, double reference) { return ours / reference; }

// The answers are those of the detector itself.
void Verify(const BenchServer& server, const std::filesystem::path& models, const Shape& shape, size_t rows) {
  const v1::ScoreRequest request = RequestOf(shape, rows);
  const v1::ScoreResponse response = CallOnce(server, kScoreMethod, request);
  const auto detector = ReadArtifact(models / shape.name / "1");
  ScoreResult expected;
  bool same =
      detector.ok() &&
      (*detector)->Score({request.values().data(), static_cast<size_t>(request.values_size())}, {}, &expected).ok() &&
      response.verdicts_size() == static_cast<int>(expected.verdicts.size());
  for (size_t i = 0; same && i < rows; ++i) {
    const v1::Verdict& got = response.verdicts(static_cast<int>(i));
    same = got.error() == expected.verdicts[i].error && got.p_value() == expected.verdicts[i].p_value;
  }
  if (same) return;
  std::fprintf(stderr, "rpc_bench: %s: the server's verdicts are not the detector's\n", shape.name);
  std::exit(1);
}

class RpcBench {
 public:
  RpcBench(std::filesystem::path models, std::set<std::string> wanted)
      : models_(std::move(models)), wanted_(std::move(wanted)), cores_(sysconf(_SC_NPROCESSORS_ONLN)) {
    for (const Shape* shape : {&S1(), &S3()}) WriteTinyArtifact(models_, DetectorOf(*shape));
  }

  // Whether all that was wanted could be measured.
  bool Run() {
    {
      const BenchServer server(models_, {0});
      PinToCores(Cores(1, cores_));
      for (const Shape* shape : {&S1(), &S3()}) {
        for (const size_t rows : {1, 7, 1024}) Verify(server, models_, *shape, rows);
      }
      Unary(server, "unary_s1", S1());
      Unary(server, "unary_s3", S3());
      Latency(server);
      Stream(server);
      Batch(server);
      LatencyByLoad(server);
    }
    RowsByCores();
    return complete_;
  }

 private:
  static std::vector<int> Cores(int first, int end) {
    std::vector<int> cores(static_cast<size_t>(std::max(end - first, 1)));
    std::iota(cores.begin(), cores.end(), std::min(first, end - 1));
    return cores;
  }
  bool Wants(const std::string& id) const { return wanted_.empty() || wanted_.contains(id); }

  void Unary(const BenchServer& server, const std::string& id, const Shape& shape) {
    if (!Wants(id)) return;
    const v1::ScoreRequest request = RequestOf(shape, 1);
    const auto call = [&](const char* method) {
      return CallClosed(server, method, request, {.seconds = kCallSeconds});
    };
    CompareBusy(
        id, [&] { return call(kScoreMethod); }, [&] { return call(kEmptyMethod); }, "calls/server CPU s");
  }

  // Answers a CPU second of a server that its clients keep busy.
  void CompareBusy(const std::string& id, const std::function<Throughput()>& ours,
                   const std::function<Throughput()>& reference, const std::string& unit) {
    Comparison comparison;
    size_t rounds = 0;
    for (; rounds < kMostCallRounds && comparison.ratios.size() < kCallRounds; ++rounds) {
      const Throughput a = ours(), b = reference();
      if (std::min(a.Busy(), b.Busy()) < kLeastBusy) continue;
      comparison.Add(a.PerCpuSecond(), b.PerCpuSecond(), a.PerCpuSecond() / b.PerCpuSecond());
    }
    std::fprintf(stderr, "%s: server busy in %zu of %zu rounds\n", id.c_str(), comparison.ratios.size(), rounds);
    if (comparison.ratios.size() >= kFewestCallRounds) return Print(id, comparison, unit);
    GiveUp(id, "more rounds with a busy server");
  }

  // Where others have the processors.
  void GiveUp(const std::string& id, const char* expected) {
    std::fprintf(stderr, "rpc_bench: %s: expected %s\n", id.c_str(), expected);
    complete_ = false;
  }

  // At half of the calls a second that 64 in flight reach, and at the rate that keeps the server's core busy half of
  // the time. That is lower: calls that come alone cost twice as much, since nothing is read, scored or sent together.
  void Latency(const BenchServer& server) {
    if (!Wants("p50_half_load_s1") && !Wants("p50_half_busy_s1")) return;
    const v1::ScoreRequest request = RequestOf(S1(), 1);
    const auto open = [&](const char* method, double rate) {
      return CallOpen(server, method, request, rate, {.clients = 2, .seconds = kCallSeconds});
    };
    Throughput saturated = CallClosed(server, kScoreMethod, request, {});
    for (int i = 0; saturated.Busy() < kLeastBusy && i < 10; ++i) {
      saturated = CallClosed(server, kScoreMethod, request, {});
    }
    if (saturated.Busy() < kLeastBusy) return GiveUp("p50_half_load_s1", "a busy server");
    const double half_load = saturated.PerSecond() / 2;
    double half_busy = half_load / 2;
    for (int i = 0; i < 3; ++i) {
      half_busy = std::min(half_load, half_busy * 0.5 / open(kScoreMethod, half_busy).server_busy);
    }
    std::fprintf(stderr, "p50_half_load_s1: %.0f/s, server busy %.2f; p50_half_busy_s1: %.0f/s\n", half_load,
                 open(kScoreMethod, half_load).server_busy, half_busy);
    for (const auto& [id, rate] : {std::pair("p50_half_load_s1", half_load), {"p50_half_busy_s1", half_busy}}) {
      if (!Wants(id)) continue;
      const auto p50 = [&, rate = rate](const char* method) {
        return 1e6 * Quantile(open(method, rate).latencies, 0.5);
      };
      Print(id,
            Compare(
                kCallRounds, [&] { return p50(kScoreMethod); }, [&] { return p50(kEmptyMethod); }, Divide),
            "us");
    }
  }

  void Stream(const BenchServer& server) {
    if (!Wants("stream_s1")) return;
    const v1::ScoreRequest request = RequestOf(S1(), 1);
    v1::ScoreStreamRequest message;
    *message.mutable_model() = request.model();
    *message.mutable_values() = request.values();
    CompareBusy(
        "stream_s1", [&] { return StreamClosed(server, message, {.seconds = kCallSeconds}); },
        [&] { return CallClosed(server, kScoreMethod, request, {.seconds = kCallSeconds}); }, "messages/server CPU s");
  }

  void Batch(const BenchServer& server) {
    if (!Wants("batch_s1")) return;
    constexpr size_t kRows = 1024;
    const v1::ScoreRequest request = RequestOf(S1(), kRows);
    const auto rows = [&] {
      const Throughput throughput = CallClosed(server, kScoreMethod, request, {.in_flight = 16});
      std::fprintf(stderr, "batch_s1: %.0f rows/s, server busy %.2f\n", kRows * throughput.PerSecond(),
                   throughput.Busy());
      return kRows * throughput.PerCpuSecond();
    };
    Print("batch_s1",
          Compare(
              kRounds, rows, [] { return kGoalRowsPerSecond; }, Divide),
          "rows/server CPU s");
  }

  void LatencyByLoad(const BenchServer& server) {
    if (!Wants("latency_by_load")) return;
    const v1::ScoreRequest request = RequestOf(S1(), 1);
    const double saturation = CallClosed(server, kScoreMethod, request, {.seconds = 2}).PerSecond();
    for (const double share : {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1}) {
      const std::vector<double> seconds =
          CallOpen(server, kScoreMethod, request, share * saturation, {.clients = 2, .seconds = 2}).latencies;
      PrintPoint("latency_by_load", share, 1e3 * Quantile(seconds, 0.5));
      PrintPoint("latency_p99_by_load", share, 1e3 * Quantile(seconds, 0.99));
    }
  }

  // The clients are on the same machine: from about half of its cores on they take what the server wants.
  void RowsByCores() {
    if (!Wants("rows_by_cores")) return;
    constexpr size_t kRows = 256;
    const v1::ScoreRequest request = RequestOf(S1(), kRows);
    PinToCores(Cores(0, cores_));
    for (int server_cores = 1; server_cores <= std::min(cores_, 4); ++server_cores) {
      const BenchServer server(models_, Cores(0, server_cores));
      const Throughput throughput =
          CallClosed(server, kScoreMethod, request, {.clients = 8, .in_flight = 64, .seconds = 2});
      std::fprintf(stderr, "rows_by_cores %d: server busy %.2f\n", server_cores, throughput.Busy());
      PrintPoint("rows_by_cores", server_cores, kRows * throughput.PerSecond());
    }
  }

  const std::filesystem::path models_;
  const std::set<std::string> wanted_;
  const int cores_;
  bool complete_ = true;
};

int Main(int argc, char** argv) {
  if (argc == 4 && std::string(argv[1]) == "--serve") {
    std::vector<int> cores;
    for (const absl::string_view core : absl::StrSplit(argv[3], ',')) {
      if (!absl::SimpleAtoi(core, &cores.emplace_back())) return 64;
    }
    return ServeUntilClosed(argv[2], cores);
  }
  const TemporaryFolder folder;
  return RpcBench(folder.path(), std::set<std::string>(argv + 1, argv + argc)).Run() ? 0 : 1;
}

}  // namespace
}  // namespace astray::bench

int main(int argc, char** argv) { return astray::bench::Main(argc, argv); }
