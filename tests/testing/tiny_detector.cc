#include "tests/testing/tiny_detector.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/random.h"
#include "engine/detect/artifact.h"
#include "engine/nn/network.h"

namespace astray {
namespace {

void OkOrDie(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::abort();
}

template <typename T>
T ValueOrDie(absl::StatusOr<T> value) {
  OkOrDie(value.status());
  return *std::move(value);
}

Network MakeNetwork(uint32_t width, const std::vector<uint32_t>& hidden, v1::Activation code_activation,
                    uint64_t seed) {
  v1::NetworkSpec spec;
  const auto add = [&spec](const std::string& name, uint32_t inputs, uint32_t outputs, v1::Activation activation) {
    v1::Layer* layer = spec.add_layers();
    layer->set_name(name);
    layer->mutable_dense()->set_inputs(inputs);
    layer->mutable_dense()->set_outputs(outputs);
    layer->mutable_dense()->set_activation(activation);
  };
  const size_t code = hidden.size() / 2;
  uint32_t inputs = width;
  for (size_t i = 0; i < hidden.size(); ++i) {
    const std::string name = i < code ? "encoder_" + std::to_string(i + 1) : "decoder_" + std::to_string(i - code);
    add(i == code ? "code" : name, inputs, hidden[i], i == code ? code_activation : v1::RELU);
    inputs = hidden[i];
  }
  add("output", inputs, width, v1::LINEAR);
  spec.set_code_layer(static_cast<uint32_t>(code));
  Network network = ValueOrDie(Network::Create(std::move(spec)));
  Random random(seed);
  network.Initialise(random);
  network.RoundDenseWeights();  // as training does
  return network;
}

}  // namespace

std::vector<float> TinyRows(size_t n, size_t features, uint64_t seed) {
  Random random(seed, 1);
  std::vector<float> rows;
  rows.reserve(n * features);
  for (size_t i = 0; i < n; ++i) {
    const double load = std::sin(static_cast<double>(i) / 17);
    for (size_t j = 0; j < features; ++j) {
      const double level = 10.0 * static_cast<double>(j + 1);
      rows.push_back(static_cast<float>(level + (j % 2 == 0 ? load : -load) + 0.1 * random.Normal()));
    }
  }
  return rows;
}

std::shared_ptr<const Detector> MakeTinyDetector(const TinyDetectorOptions& options) {
  v1::Recipe recipe;
  recipe.set_name(options.name);
  recipe.set_seed(options.seed);
  recipe.mutable_features()->set_scaling(v1::STANDARD);
  recipe.mutable_features()->set_window(options.window);
  recipe.mutable_score()->set_kind(v1::MEAN_SQUARED);
  *recipe.mutable_stream() = options.stream;
  *recipe.mutable_alarm() = options.alarm;
  recipe.mutable_calibration()->set_false_positive_rate(options.false_positive_rate);

  const std::vector<float> rows = TinyRows(options.calibration_rows, options.features.size(), 100);
  Pipeline pipeline = ValueOrDie(Pipeline::Fit(recipe.features(), options.features, rows));
  v1::ScoreScale scale;
  scale.set_kind(v1::MEAN_SQUARED);
  if (options.prototypes) {
    scale.set_features(static_cast<uint32_t>(options.features.size()));
    *scale.mutable_prototypes() = *options.prototypes;
  }
  Network network =
      MakeNetwork(static_cast<uint32_t>(pipeline.width()), options.hidden, options.code_activation, options.seed);
  std::shared_ptr<DetectorModel> model(new DetectorModel{.name = options.name,
                                                         .recipe = std::move(recipe),
                                                         .pipeline = std::move(pipeline),
                                                         .score_scale = std::move(scale),
                                                         .executors = ExecutorPool(std::move(network)),
                                                         .hindsight = options.hindsight});
  std::vector<float> errors = ValueOrDie(Detector(model, nullptr).Errors(rows));
  auto calibration = std::make_shared<const Calibration>(
      ValueOrDie(Calibration::Create(std::move(errors), options.false_positive_rate, {})));
  return std::make_shared<const Detector>(std::move(model), std::move(calibration));
}

std::filesystem::path WriteTinyArtifact(const std::filesystem::path& base_path, const TinyDetectorOptions& options,
                                        int64_t version) {
  const std::vector<float> golden_rows = TinyRows(options.window + 3, options.features.size(), 200);
  return ValueOrDie(WriteArtifact(base_path, *MakeTinyDetector(options), golden_rows, v1::TrainingReport(), version));
}

}  // namespace astray
