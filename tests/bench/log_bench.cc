// Lines a second of a log's way to sessions (time, key, template), on one core: public logs, found through
// ASTRAY_DATA_DIR (default ../shared/data), each over again.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/data/line_reader.h"
#include "engine/features/log_sessions.h"
#include "engine/features/log_transform.h"
#include "engine/train/log_training.h"

namespace astray {
namespace {

std::vector<std::string> ReadLines(const std::string& system) {
  const char* base = std::getenv("ASTRAY_DATA_DIR");
  const auto path =
      std::filesystem::path(base == nullptr ? "../shared/data" : base) / "logparse" / (system + ".log.gz");
  std::vector<std::string> lines;
  auto source = ByteSource::Open(path.string());
  if (!source.ok()) return lines;
  LineReader reader(*std::move(source), system);
  absl::string_view line;
  while (*reader.Next(&line)) lines.emplace_back(line);
  return lines;
}

void Parse(benchmark::State& state, const std::string& system, const std::string& session_pattern) {
  const std::vector<std::string> lines = ReadLines(system);
  if (lines.empty()) {
    state.SkipWithError("no data; set ASTRAY_DATA_DIR");
    return;
  }
  v1::LogRecipe recipe;
  if (!session_pattern.empty()) recipe.set_session_pattern(session_pattern);
  const auto training = *LogTraining::Create(recipe);
  for (const std::string& line : lines) training->LearnTemplate(line);
  for (const std::string& line : lines) training->AddToSession(line).IgnoreError();
  const auto log = training->Finish()->log;
  LogSessions sessions(log.get());
  std::vector<LogSession> closed;
  for (auto _ : state) {
    for (const std::string& line : lines) sessions.Add(line, &closed);
    closed.clear();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(lines.size()));
}

BENCHMARK_CAPTURE(Parse, HDFS, "HDFS", "blk_-?[0-9]+");
BENCHMARK_CAPTURE(Parse, HDFS_windows, "HDFS", "");
BENCHMARK_CAPTURE(Parse, BGL, "BGL", "");
BENCHMARK_CAPTURE(Parse, Hadoop, "Hadoop", "");
BENCHMARK_CAPTURE(Parse, OpenSSH, "OpenSSH", "sshd\\[([0-9]+)\\]");
BENCHMARK_CAPTURE(Parse, Spark, "Spark", "");
BENCHMARK_CAPTURE(Parse, Zookeeper, "Zookeeper", "");

}  // namespace
}  // namespace astray

BENCHMARK_MAIN();
