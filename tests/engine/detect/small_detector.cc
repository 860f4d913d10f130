#include "tests/engine/detect/small_detector.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include "engine/base/random.h"
#include "engine/detect/hindsight.h"
#include "engine/detect/score_scale.h"
#include "google/protobuf/text_format.h"

namespace astray {
namespace {

template <typename T>
T OrDie(absl::StatusOr<T> value) {
  if (value.ok()) return *std::move(value);
  std::fprintf(stderr, "%s\n", value.status().ToString().c_str());
  std::abort();
}

void AddLayer(v1::NetworkSpec& spec, const char* name, size_t inputs, size_t outputs, v1::Activation activation) {
  v1::Layer* layer = spec.add_layers();
  layer->set_name(name);
  layer->mutable_dense()->set_inputs(static_cast<uint32_t>(inputs));
  layer->mutable_dense()->set_outputs(static_cast<uint32_t>(outputs));
  layer->mutable_dense()->set_activation(activation);
}

v1::Recipe MakeRecipe(const SmallDetectorOptions& options) {
  v1::Recipe recipe;
  recipe.set_name("pump");
  recipe.set_seed(options.seed);
  recipe.mutable_features()->set_scaling(v1::STANDARD);
  recipe.mutable_features()->set_window(options.window);
  recipe.mutable_score()->set_kind(options.kind);
  recipe.mutable_score()->set_t_squared_rows(options.t_squared_rows);
  recipe.set_loss(v1::HUBER);
  if (options.noise_level > 0) recipe.add_corruption()->mutable_gaussian()->set_sigma(options.noise_level);
  if (!google::protobuf::TextFormat::MergeFromString(options.rules, &recipe)) std::abort();
  recipe.mutable_calibration()->set_false_positive_rate(0.02);
  return recipe;
}

HindsightModel MakeHindsight(const Detector& detector, const std::vector<float>& rows, double rate) {
  const v1::ScoreKind kind = detector.model().score_scale.kind();
  v1::HindsightScale scale;
  for (const uint32_t near : RowsNear(kind, detector.window())) scale.add_rows_near(near);
  if (kind == v1::WINDOW_SCALES) {
    scale.set_first_place(static_cast<uint32_t>(detector.window() / 2));
    scale.mutable_variance()->Resize(static_cast<int>(detector.features()), 1);
  } else {
    *scale.mutable_subspace() = SmallSubspace(detector.window() * detector.features(), 2);
  }
  const std::vector<float> errors = OrDie(HindsightErrors(detector, scale, rows));
  return {.scale = std::move(scale), .calibration = OrDie(Calibration::Create(errors, rate, {}))};
}

}  // namespace

std::vector<float> SmallRows(size_t n, uint64_t seed) {
  Random random(seed, 1);
  std::vector<float> rows;
  for (size_t i = 0; i < n; ++i) {
    const double load = std::sin(static_cast<double>(i) / 17);
    rows.push_back(static_cast<float>(20 + 3 * load + 0.1 * random.Normal()));
    rows.push_back(static_cast<float>(101300 - 50 * load + 5 * random.Normal()));
    rows.push_back(static_cast<float>(0.5 + 0.01 * random.Normal()));
  }
  return rows;
}

std::shared_ptr<const Detector> MakeSmallDetector(const SmallDetectorOptions& options) {
  const v1::Recipe recipe = MakeRecipe(options);
  const std::vector<float> rows = SmallRows(options.calibration_rows, 100);
  Pipeline pipeline = OrDie(Pipeline::Fit(recipe.features(), {"flow", "pressure", "temperature"}, rows));
  const size_t width = pipeline.width();

  v1::NetworkSpec spec;
  AddLayer(spec, "encoder_0", width, 8, v1::RELU);
  AddLayer(spec, "code", 8, 4, v1::TANH);
  AddLayer(spec, "decoder_0", 4, 8, v1::RELU);
  AddLayer(spec, "output", 8, width, v1::LINEAR);
  spec.set_code_layer(1);
  Network network = OrDie(Network::Create(std::move(spec)));
  Random random(options.seed);
  network.Initialise(random);

  Batch batch;
  if (!pipeline.Apply(rows, &batch).ok()) std::abort();
  std::vector<float> output(batch.values.size());
  if (!OrDie(Executor::Create(network))->Forward(batch.vectors, batch.values, output).ok()) std::abort();
  v1::ScoreScale scale =
      OrDie(FitScoreScale(recipe.score(), pipeline.features(), width, {batch.values, output, batch.observed}));
  if (options.kind == v1::TRAINING_LOSS) scale.set_loss(recipe.loss());

  DeviationRules rules = DeviationRules::Compile(recipe.rule(), pipeline);
  std::shared_ptr<DetectorModel> model(new DetectorModel{.name = recipe.name(),
                                                         .recipe = recipe,
                                                         .pipeline = std::move(pipeline),
                                                         .score_scale = std::move(scale),
                                                         .rules = std::move(rules),
                                                         .executors = ExecutorPool(std::move(network))});
  const Detector uncalibrated(model, nullptr);
  const double rate = recipe.calibration().false_positive_rate();
  auto calibration =
      std::make_shared<const Calibration>(OrDie(Calibration::Create(OrDie(uncalibrated.Errors(rows)), rate, {})));
  if (options.hindsight) model->hindsight = MakeHindsight(uncalibrated, rows, rate);
  return std::make_shared<const Detector>(std::move(model), std::move(calibration));
}

v1::SubspaceScale SmallSubspace(size_t width, size_t components) {
  Random random(31);
  v1::SubspaceScale scale;
  for (size_t j = 0; j < width; ++j) {
    scale.add_mean(static_cast<float>(0.3 * random.Normal()));
    scale.add_variance(static_cast<float>(0.2 + random.Uniform()));
  }
  const double length = std::sqrt(static_cast<double>(width));
  for (size_t i = 0; i < components * width; ++i) {
    scale.add_component(static_cast<float>(random.Normal() / length));
  }
  return scale;
}

v1::TrainingReport SmallReport() {
  v1::TrainingReport report;
  report.set_rows(400);
  report.set_parameters(204);
  v1::LossPoint* loss = report.add_losses();
  loss->set_step(50);
  loss->set_training(0.5);
  loss->set_validation(0.6);
  v1::Warning* warning = report.add_warnings();
  warning->set_kind(v1::Warning::PCA_AS_GOOD);
  warning->set_text("column 'Druck °C' \"quoted\"");
  return report;
}

}  // namespace astray
