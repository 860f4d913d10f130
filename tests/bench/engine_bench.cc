// The engine's parts one by one: the network forward, a training step and what corrupting its batch takes of it, a CSV
// read.
#include <benchmark/benchmark.h>

#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/random.h"
#include "engine/data/csv_reader.h"
#include "engine/nn/executor.h"
#include "engine/nn/gradient.h"
#include "engine/nn/optimizer.h"
#include "engine/train/corruption.h"
#include "engine/train/network_recipe.h"
#include "engine/train/recipe.h"
#include "tests/bench/shapes.h"

namespace astray {
namespace {

constexpr size_t kBatch = 128;

v1::Recipe MakeRecipe(size_t width, const std::string& more) {
  Dataset shape;
  for (size_t j = 0; j < width; ++j) shape.feature_names.push_back("c" + std::to_string(j));
  shape.values.resize(400 * width);
  return *CompleteRecipe(*ParseRecipe("name: 'bench' features { window: 1 scaling: MIN_MAX } " + more, "bench"), shape);
}

std::vector<float> Values(size_t count) {
  std::vector<float> values(count);
  Random(1).FillUniform(values);
  return values;
}

// A shape of shapes.h, and a number of rows.
void Forward(benchmark::State& state) {
  const bench::Shape& shape = bench::Shapes()[static_cast<size_t>(state.range(0))];
  const auto rows = static_cast<size_t>(state.range(1));
  const auto detector = MakeTinyDetector(bench::DetectorOf(shape));
  const auto executor = *Executor::Create(detector->model().executors.network());
  const std::vector<float> input = Values(rows * shape.width);
  std::vector<float> output(input.size());
  for (auto _ : state) benchmark::DoNotOptimize(executor->Forward(rows, input, output).ok());
  state.SetLabel(shape.name);
  state.SetItemsProcessed(state.iterations() * state.range(1));
}
BENCHMARK(Forward)->ArgsProduct({{0, 1, 2}, {1, 8, 128, 1024}})->Unit(benchmark::kMicrosecond);

// 2,000 rows; the argument is the number of columns.
void ReadRows(benchmark::State& state) {
  const auto columns = static_cast<size_t>(state.range(0));
  const std::vector<float> values = Values(2000 * columns);
  std::string text;
  for (size_t j = 0; j < columns; ++j) absl::StrAppend(&text, j == 0 ? "c" : ",c", j);
  for (size_t i = 0; i < values.size(); ++i) absl::StrAppend(&text, i % columns == 0 ? "\n" : ",", values[i]);
  for (auto _ : state) {
    std::istringstream input(text);
    const auto reader = *CsvReader::FromStream(&input, "bench", {});
    Row row;
    while (*reader->Next(&row)) benchmark::DoNotOptimize(row.values.data());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
}
BENCHMARK(ReadRows)->Arg(8)->Arg(38)->Arg(256)->Unit(benchmark::kMillisecond);

// Forward, backward and Adam of the default network.
void Step(benchmark::State& state) {
  const auto width = static_cast<size_t>(state.range(0));
  const v1::Recipe recipe = MakeRecipe(width, "");
  Network network = *Network::Create(BuildNetworkSpec(recipe, width));
  Random random(1);
  network.Initialise(random);
  const auto gradient = *Gradient::Create(network, recipe.loss(), kBatch);
  Optimizer optimizer = *Optimizer::Create(recipe.training(), network.parameters().size());
  const std::vector<float> input = Values(kBatch * width), target = Values(kBatch * width);
  for (auto _ : state) {
    benchmark::DoNotOptimize(*gradient->Compute(input, target, {}));
    optimizer.Step(gradient->gradient(), network.parameters());
  }
}
BENCHMARK(Step)->Arg(64)->Arg(256)->Arg(784)->Unit(benchmark::kMicrosecond);

void Corrupt(benchmark::State& state, const std::string& corruption) {
  const auto width = static_cast<size_t>(state.range(0));
  const v1::Recipe recipe = *ParseRecipe("corruption { " + corruption + " }", "bench");
  // Seen as rows of four values.
  Corruptor corruptor = *Corruptor::Create(recipe.corruption(), {.rows = width / 4, .features = 4}, Random(1));
  const std::vector<float> clean = Values(kBatch * width);
  std::vector<float> values = clean;
  for (auto _ : state) {
    values = clean;
    corruptor.Apply(values);
    benchmark::DoNotOptimize(values.data());
  }
}

#define ASTRAY_CORRUPTION(name, text) \
  BENCHMARK_CAPTURE(Corrupt, name, text)->Arg(64)->Arg(256)->Arg(784)->Unit(benchmark::kMicrosecond)

ASTRAY_CORRUPTION(gaussian, "gaussian { sigma: 0.2 }");
ASTRAY_CORRUPTION(gaussian_of_random_level, "gaussian { max_sigma: 0.5 }");
ASTRAY_CORRUPTION(clipped_gaussian, "clipped_gaussian { sigma: 0.2 }");
ASTRAY_CORRUPTION(masking, "masking { keep_probability: 0.7 }");
ASTRAY_CORRUPTION(salt_and_pepper, "salt_and_pepper { probability: 0.1 }");
ASTRAY_CORRUPTION(bit_flip, "bit_flip { probability: 0.1 }");
ASTRAY_CORRUPTION(feature_swap, "feature_swap { probability: 0.2 }");
ASTRAY_CORRUPTION(patch_removal, "patch_removal { rows: 4 features: 2 }");
ASTRAY_CORRUPTION(local_shuffle, "local_shuffle { rows: 4 }");
ASTRAY_CORRUPTION(token_mask, "token_mask { probability: 0.2 }");
ASTRAY_CORRUPTION(token_deletion, "token_deletion { probability: 0.2 }");
ASTRAY_CORRUPTION(span_permutation, "span_permutation { spans: 3 }");
ASTRAY_CORRUPTION(span_mask, "span_mask { share: 0.3 }");
ASTRAY_CORRUPTION(infilling, "infilling { share: 0.3 }");

}  // namespace
}  // namespace astray

BENCHMARK_MAIN();
