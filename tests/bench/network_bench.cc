// The forward pass against what a core can do at most and against ONNX Runtime: lines of JSON (measurement.h).
#include <cmath>
#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

#include "client/onnx_model.h"
#include "engine/nn/executor.h"
#include "tests/bench/fma_peak.h"
#include "tests/bench/measurement.h"
#include "tests/bench/onnx_runtime.h"
#include "tests/bench/shapes.h"
#include "tests/testing/reference_network.h"

namespace astray::bench {
namespace {

constexpr size_t kRounds = 15;

template <typename T>
T ValueOrDie(absl::StatusOr<T> value) {
  if (!value.ok()) {
    std::fprintf(stderr, "%s\n", std::string(value.status().message()).c_str());
    std::exit(1);
  }
  return *std::move(value);
}

enum class Weights { kFloats, kBfloat16 };

// As training leaves them, or with all the bits of floats.
Network NetworkOf(const Shape& shape, Weights weights = Weights::kBfloat16) {
  std::vector<uint32_t> sizes = {static_cast<uint32_t>(shape.width)};
  sizes.insert(sizes.end(), shape.hidden.begin(), shape.hidden.end());
  sizes.push_back(static_cast<uint32_t>(shape.width));
  Network network = ValueOrDie(Network::Create(testing::DenseSpec(sizes, v1::RELU, v1::LINEAR)));
  Random random(1);
  network.Initialise(random);
  if (weights == Weights::kBfloat16) network.RoundDenseWeights();
  return network;
}

std::vector<float> RandomRows(size_t rows, const Shape& shape) {
  std::vector<float> values(rows * shape.width);
  Random(2).FillNormal(values);
  return values;
}

double FlopsASecond() {
  double flops = 0;
  const double seconds = SecondsOf([&] { flops = RunFmaLoop(); });
  return flops / seconds;
}

// A call of `rows` rows, ready to be timed.
class Forward {
 public:
  Forward(const Shape& shape, const Network& network, size_t rows)
      : rows_(rows),
        executor_(ValueOrDie(Executor::Create(network))),
        input_(RandomRows(rows, shape)),
        output_(input_.size()) {}

  void operator()() {
    if (!executor_->Forward(rows_, input_, output_).ok()) std::abort();
  }
  std::vector<float>& input() { return input_; }
  const std::vector<float>& output() const { return output_; }

 private:
  size_t rows_;
  std::unique_ptr<Executor> executor_;
  std::vector<float> input_, output_;
};

// Of a figure with these weights.
std::string SuffixOf(Weights weights) { return weights == Weights::kFloats ? "_floats" : ""; }

void ComparePeak(const Shape& shape, size_t rows, Weights weights = Weights::kBfloat16) {
  Forward forward(shape, NetworkOf(shape, weights), rows);
  const double flops = FlopsOf(shape) * static_cast<double>(rows);
  Print("peak_" + std::string(shape.name) + "_" + std::to_string(rows) + SuffixOf(weights),
        Compare(
            kRounds, [&] { return 1e-9 * flops / SecondsOf([&] { forward(); }); }, [] { return 1e-9 * FlopsASecond(); },
            [](double ours, double peak) { return ours / peak; }),
        "GFLOP/s");
}

double WallSecondsOf(const std::function<void()>& work) {
  timespec begin, end;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  work();
  clock_gettime(CLOCK_MONOTONIC, &end);
  return static_cast<double>(end.tv_sec - begin.tv_sec) + 1e-9 * static_cast<double>(end.tv_nsec - begin.tv_nsec);
}

// Two threads, each with an executor of its own and half of the rows, against one with all of them: by the clock on the
// wall. Threads stand ready: starting one is not what is measured.
void CompareThreads(const Shape& shape, size_t rows) {
  constexpr int kRepeats = 20;
  const Network network = NetworkOf(shape);
  Forward whole(shape, network, rows), first(shape, network, rows / 2), second(shape, network, rows / 2);
  const auto repeat = [](Forward& forward) {
    for (int i = 0; i < kRepeats; ++i) forward();
  };
  const auto two = [&] {
    return WallSecondsOf([&] {
      std::thread other([&] { repeat(second); });
      repeat(first);
      other.join();
    });
  };
  Print("threads_" + std::string(shape.name) + "_" + std::to_string(rows),
        Compare(
            kRounds, two, [&] { return WallSecondsOf([&] { repeat(whole); }); },
            [](double ours, double one) { return one / ours; }),
        "s");
}

void CompareOnnxRuntime(const Shape& shape, const std::vector<size_t>& batches, Weights weights = Weights::kBfloat16) {
  const Network network = NetworkOf(shape, weights);
  absl::StatusOr<std::unique_ptr<OnnxRuntime>> theirs = OnnxRuntime::Create(OnnxModel(network).SerializeAsString());
  if (!theirs.ok()) {
    std::fprintf(stderr, "no comparison with ONNX Runtime: %s\n", std::string(theirs.status().message()).c_str());
    return;
  }
  for (const size_t rows : batches) {
    Forward ours(shape, network, rows);
    std::vector<float> output(rows * shape.width);
    if (!(*theirs)->Bind(rows, ours.input(), "reconstruction", output).ok()) std::abort();
    const auto run = [&] {
      if (!(*theirs)->Run().ok()) std::abort();
    };
    ours();
    run();
    for (size_t i = 0; i < output.size(); ++i) {
      if (!(std::abs(output[i] - ours.output()[i]) <= 1e-4f * (1 + std::abs(output[i])))) {
        std::fprintf(stderr, "%s: value %zu: %g, ONNX Runtime %g\n", shape.name, i, ours.output()[i], output[i]);
        std::exit(1);
      }
    }
    Print("ort_" + std::string(shape.name) + "_" + std::to_string(rows) + SuffixOf(weights),
          Compare(
              kRounds, [&] { return 1e6 * SecondsOf([&] { ours(); }); }, [&] { return 1e6 * SecondsOf(run); },
              [](double ours_us, double theirs_us) { return theirs_us / ours_us; }),
          "us");
  }
}

int Main() {
  const auto peak = [] { return 1e-9 * FlopsASecond(); };
  Print("fma_peak", Compare(kRounds, peak, peak, [](double, double) { return 1.0; }), "GFLOP/s");
  const std::vector<Shape>& shapes = Shapes();
  ComparePeak(shapes[2], 8);
  ComparePeak(shapes[2], 8, Weights::kFloats);
  ComparePeak(shapes[2], 1024);
  ComparePeak(shapes[1], 128);
  ComparePeak(shapes[0], 1024);
  CompareThreads(shapes[2], 1024);
  for (const Shape& shape : shapes) CompareOnnxRuntime(shape, {1, 8, 128, 1024});
  CompareOnnxRuntime(shapes[1], {1}, Weights::kFloats);
  CompareOnnxRuntime(shapes[2], {1, 8}, Weights::kFloats);
  return 0;
}

}  // namespace
}  // namespace astray::bench

int main() { return astray::bench::Main(); }
