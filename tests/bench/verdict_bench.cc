// What a full verdict costs beside the network's forward pass alone, on the same scaled rows and one thread: lines of
// JSON, ratio = time of Detector::Score / time of Executor::Forward.
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/detect/detector.h"
#include "tests/bench/measurement.h"
#include "tests/bench/shapes.h"

namespace astray::bench {
namespace {

constexpr size_t kRows = 1024;
constexpr size_t kRounds = 41;

void OkOrDie(const absl::Status& status) {
  if (status.ok()) return;
  std::cerr << status << "\n";
  std::abort();
}

// rows: time-ordered. Nanoseconds of one vector.
void CompareWithForward(const std::string& id, const Detector& detector, const std::vector<float>& rows,
                        const ScoreOptions& options = {}) {
  Batch batch;
  OkOrDie(detector.model().pipeline.Apply(rows, &batch));
  auto executor = Executor::Create(detector.model().executors.network());
  OkOrDie(executor.status());
  std::vector<float> output(batch.vectors * detector.model().executors.network().output_size());
  ScoreResult result;
  const double vectors = static_cast<double>(batch.vectors);
  const auto nanoseconds = [vectors](const std::function<void()>& work) { return 1e9 * SecondsOf(work) / vectors; };
  Print(id,
        Compare(
            kRounds, [&] { return nanoseconds([&] { OkOrDie(detector.Score(rows, options, &result)); }); },
            [&] { return nanoseconds([&] { OkOrDie((*executor)->Forward(batch.vectors, batch.values, output)); }); },
            [](double ours, double reference) { return ours / reference; }),
        "ns");
}

// As many as training takes of a table.
v1::PrototypeScale MakePrototypes(size_t features) {
  constexpr size_t kPoints = 256;
  Random random(1);
  v1::PrototypeScale scale;
  for (size_t i = 0; i < features * (features + 1) / 2; ++i) scale.add_metric(static_cast<float>(random.Normal()));
  for (size_t i = 0; i < kPoints * features; ++i) scale.add_point(static_cast<float>(random.Normal()));
  scale.set_unit(1);
  return scale;
}

void Run() {
  for (const Shape& shape : Shapes()) {
    const auto detector = MakeTinyDetector(DetectorOf(shape));
    CompareWithForward("verdict_" + std::string(shape.name) + "_1024", *detector, TinyRows(kRows, shape.width, 1));
  }
  const Shape& s1 = Shapes().front();
  const auto detector = MakeTinyDetector(DetectorOf(s1));
  std::vector<float> rows = TinyRows(kRows, s1.width, 1);
  CompareWithForward("verdict_s1_32", *detector, TinyRows(32, s1.width, 1));
  CompareWithForward("verdict_s1_1", *detector, TinyRows(1, s1.width, 1));
  // Every row anomalous: each is explained.
  CompareWithForward("verdict_s1_explained", *detector, rows, {.explain_all = true});
  for (size_t i = 0; i < rows.size(); i += 13) rows[i] = std::numeric_limits<float>::quiet_NaN();
  CompareWithForward("verdict_s1_missing", *detector, rows);

  TinyDetectorOptions options = DetectorOf(s1);
  options.prototypes = MakePrototypes(s1.width);
  CompareWithForward("verdict_s1_prototypes", *MakeTinyDetector(options), TinyRows(kRows, s1.width, 1));

  options = DetectorOf(s1);
  options.window = 32;
  options.calibration_rows = 1000;
  CompareWithForward("verdict_window", *MakeTinyDetector(options), TinyRows(256 + 31, s1.width, 1));
}

}  // namespace
}  // namespace astray::bench

int main() { astray::bench::Run(); }
