#include "client/commands/bench.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/client.h"
#include "client/load_generator.h"
#include "client/verdict_flags.h"
#include "engine/base/random.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

constexpr size_t kMaxRows = 100'000;  // of the data that are sent, over and over

struct Flags {
  ServerFlags server;
  std::string mode = "unary", data;
  RowFormat input_format = RowFormat::kByName;
  size_t concurrency = 8, batch_rows = 0;
  double seconds = 10;
  bool json = false;
};

absl::StatusOr<std::vector<float>> ReadRows(const Flags& flags, const v1::ModelDescription& model) {
  const std::vector<std::string> features(model.features().begin(), model.features().end());
  ASSIGN_OR_RETURN(const auto source,
                   RowSource::Open(flags.data, features,
                                   {.format = flags.input_format, .sequence = model.recipe().features().sequence()}));
  std::vector<float> values;
  Row row;
  while (values.size() < kMaxRows * features.size()) {
    ASSIGN_OR_RETURN(const bool more, source->Next(&row));
    if (!more) break;
    values.insert(values.end(), row.values.begin(), row.values.end());
  }
  return values;
}

// Rows between the smallest and the largest value that training saw, each feature by itself.
std::vector<float> DrawRows(const v1::ModelDescription& model) {
  constexpr size_t kRows = 4096;
  Random random(1);
  std::vector<float> values;
  for (size_t i = 0; i < kRows; ++i) {
    for (const v1::ColumnProfile& p : model.profiles()) {
      values.push_back(static_cast<float>(p.min() + random.Uniform() * (p.max() - p.min())));
    }
  }
  return values;
}

void Print(const v1::BenchReport& r, std::ostream& out) {
  out << absl::StrFormat("%-24s %s, %d at a time, %d rows a message, %.1f s\n", "mode", r.mode(), r.concurrency(),
                         r.batch_rows(), r.seconds());
  out << absl::StrFormat("%-24s %.0f rows/s in %.0f messages/s\n", "throughput", r.rows_per_second(),
                         r.messages_per_second());
  out << absl::StrFormat("%-24s p50 %.3f ms, p90 %.3f ms, p99 %.3f ms, max %.3f ms\n", "latency",
                         1e3 * r.latency_p50_seconds(), 1e3 * r.latency_p90_seconds(), 1e3 * r.latency_p99_seconds(),
                         1e3 * r.latency_max_seconds());
  if (r.rejected() > 0) out << absl::StrFormat("%-24s %.0f messages: the queue was full\n", "rejected", r.rejected());
}

absl::Status RunBench(const Flags& flags, CommandContext& context) {
  const auto client = Client::Connect(flags.server.server, {});
  ASSIGN_OR_RETURN(const v1::ModelDescription model, client->DescribeModel(flags.server.ref()));
  const std::vector<std::string> features(model.features().begin(), model.features().end());
  std::vector<float> rows;
  if (flags.data.empty()) {
    rows = DrawRows(model);
  } else {
    ASSIGN_OR_RETURN(rows, ReadRows(flags, model));
  }
  LoadOptions options;
  options.target = flags.server.server;
  options.model = PinnedModel(model);
  options.stream = flags.mode == "stream";
  options.concurrency = flags.concurrency;
  // A Score call takes at least a window of rows.
  const size_t least = options.stream ? 1 : std::max<size_t>(1, model.window());
  const size_t usual = flags.mode == "batch" ? 256 : 1;
  options.message_rows = std::max(least, flags.batch_rows > 0 ? flags.batch_rows : usual);
  options.duration = absl::Seconds(flags.seconds);
  if (rows.size() < options.message_rows * features.size()) {
    return absl::InvalidArgumentError(absl::StrCat(flags.data.empty() ? "--batch-rows" : flags.data,
                                                   ": expected at least ", options.message_rows,
                                                   " rows, a message's worth, got ", rows.size() / features.size()));
  }
  ASSIGN_OR_RETURN(v1::BenchReport report, GenerateLoad(options, rows, features.size()));
  report.set_mode(flags.mode);
  if (flags.json) {
    context.out << ToJson(report) << "\n";
  } else {
    Print(report, context.out);
  }
  return absl::OkStatus();
}

}  // namespace

void AddBenchCommand(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = AddCommand(app, context, "bench", "Measure a server under load",
                                 "  astray bench --server=localhost:8001 --model=pump --mode=unary --concurrency=64\n"
                                 "  astray bench --model=pump --mode=batch --batch-rows=512 --duration=10s\n"
                                 "  astray bench --model=pump --mode=stream --data=today.csv --json",
                                 [flags, &context] { return RunBench(*flags, context); });
  flags->server.AddServer(command);
  flags->server.AddModel(command);
  command->add_option("--mode", flags->mode, "unary and batch are Score calls, stream is ScoreStream")
      ->check(CLI::IsMember({"unary", "batch", "stream"}))
      ->capture_default_str();
  command->add_option("--concurrency", flags->concurrency, "Callers at the same time, each with its own connection")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--duration", flags->seconds, "How long, as 10s or 2m (default: 10s)")
      ->transform(CLI::AsNumberWithUnit(std::map<std::string, double>{{"s", 1}, {"m", 60}, {"ms", 1e-3}}))
      ->check(CLI::Range(1e-3, 3600.0))
      ->type_name("DURATION");
  command->add_option("--batch-rows", flags->batch_rows, "Rows in a message (default: 1; of batch 256)")
      ->check(CLI::Range(1, 100'000));
  command->add_option("--data", flags->data, "Rows to send (default: drawn between the smallest and largest seen)");
  AddInputFormat(command, &flags->input_format);
  command->add_flag("--json", flags->json, "Print JSON");
}

}  // namespace astray
