// What watching for drift costs beside scoring, on one core: a call of some rows scored, watched as a server does, and
// watched with every row counted. The detectors are as small as they come: real ones score more slowly.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/detect/drift_monitor.h"
#include "tests/testing/tiny_detector.h"

namespace astray {
namespace {

TinyDetectorOptions WithFeatures(size_t features) {
  TinyDetectorOptions options;
  options.features.clear();
  for (size_t i = 0; i < features; ++i) options.features.push_back(absl::StrCat("f", i));
  return options;
}

// Arguments: features, rows a call.
void Score(benchmark::State& state) {
  const auto features = static_cast<size_t>(state.range(0)), rows = static_cast<size_t>(state.range(1));
  const auto detector = MakeTinyDetector(WithFeatures(features));
  const std::vector<float> values = TinyRows(rows, features, 1);
  ScoreResult result;
  for (auto _ : state) {
    if (!detector->Score(values, {}, &result).ok()) state.SkipWithError("score");
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * rows));
}

void Watch(benchmark::State& state, const DriftMonitor::Options& options) {
  const auto features = static_cast<size_t>(state.range(0)), rows = static_cast<size_t>(state.range(1));
  const auto detector = MakeTinyDetector(WithFeatures(features));
  const std::vector<float> values = TinyRows(rows, features, 1);
  ScoreResult result;
  if (!detector->Score(values, {}, &result).ok()) state.SkipWithError("score");
  DriftMonitor monitor(detector->calibration(), detector->model().pipeline, options);
  for (auto _ : state) {
    monitor.ObserveRows(values, absl::Now());
    monitor.ObserveVerdicts(result.verdicts, absl::Now());
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * rows));
}

const DriftMonitor::Options kAsServed = {.spacing = DriftMonitor::Spacing(1, 0)};
const DriftMonitor::Options kEveryRow = {.rows_per_second = 1e12, .values_per_second = 1e15, .burst_rows = 1e15};

BENCHMARK(Score)->ArgsProduct({{3, 50, 1000}, {1, 256}});
BENCHMARK_CAPTURE(Watch, as_served, kAsServed)->ArgsProduct({{3, 50, 1000}, {1, 256}});
BENCHMARK_CAPTURE(Watch, every_row, kEveryRow)->ArgsProduct({{3, 50, 1000}, {1, 256}});

}  // namespace
}  // namespace astray

BENCHMARK_MAIN();
