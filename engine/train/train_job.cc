#include "engine/train/train_job.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "engine/base/random.h"
#include "engine/base/scratch_vector.h"
#include "engine/base/sha256.h"
#include "engine/base/shown_text.h"
#include "engine/base/status_macros.h"
#include "engine/detect/autocorrelation.h"
#include "engine/detect/block_picker.h"
#include "engine/detect/missingness_probe.h"
#include "engine/train/data_split.h"
#include "engine/train/hindsight_fit.h"
#include "engine/train/network_recipe.h"
#include "engine/train/pretraining.h"
#include "engine/train/quality_report.h"
#include "engine/train/random_streams.h"
#include "engine/train/recipe.h"
#include "engine/train/score_choice.h"
#include "engine/train/time_order.h"
#include "engine/train/weight_precision.h"

namespace astray {
namespace {

// Enough vectors to judge by; more only take longer.
constexpr size_t kMaxJudgingVectors = 4096;
constexpr size_t kMaxPcaVectors = 16384;
constexpr size_t kGoldenVectors = 8;

// The rows in the split's order, where that is not their own.
absl::StatusOr<ScratchVector<float>> Reordered(const Dataset& dataset, const ScratchVector<uint32_t>& order) {
  ScratchVector<float> rows(dataset.values.scratch());
  RETURN_IF_ERROR(rows.Reserve(order.size() * dataset.features()));
  for (const uint32_t i : order) rows.insert(rows.end(), dataset.row(i).begin(), dataset.row(i).end());
  return rows;
}

std::span<const float> RowsOf(std::span<const float> rows, size_t features, const Segment& segment) {
  return rows.subspan(segment.begin * features, segment.rows * features);
}

// What Pipeline::Apply does in a window, over whole segments: a reading from before the window may stand in it here.
void CarryReadings(const DataSplit& split, size_t features, std::span<const float> observed, std::span<float> scaled) {
  for (const std::vector<Segment>* part : {&split.training, &split.validation, &split.calibration}) {
    for (const Segment& segment : *part) {
      const size_t begin = segment.begin * features, size = segment.rows * features;
      astray::CarryReadings(observed.subspan(begin, size), features, scaled.subspan(begin, size));
    }
  }
}

// The pipeline sees the training part only.
absl::StatusOr<Pipeline> FitPipeline(const v1::Recipe& recipe, const Dataset& dataset, std::span<const float> rows,
                                     const DataSplit& split, std::shared_ptr<const LogTransform> log) {
  std::vector<std::span<const float>> training;
  for (const Segment& segment : split.training) training.push_back(RowsOf(rows, dataset.features(), segment));
  return Pipeline::Fit(recipe.features(), dataset.feature_names, training, std::move(log), dataset.values.scratch());
}

// What the network learns from: [rows x features] each.
struct ScaledRows {
  ScratchVector<float> values, observed;  // no `observed` where nothing is missing
};

absl::StatusOr<ScaledRows> ScaleRows(const Scaler& scaler, std::span<const float> rows, const Scratch& scratch) {
  constexpr size_t kChunkValues = size_t{1} << 18;
  ScaledRows scaled = {.values = ScratchVector<float>(scratch), .observed = ScratchVector<float>(scratch)};
  RETURN_IF_ERROR(scaled.values.Reserve(rows.size()));
  scaled.values.Extend(rows.size());
  const size_t chunk = std::max<size_t>(1, kChunkValues / scaler.columns()) * scaler.columns();
  std::vector<float> observed(std::min(chunk, rows.size()));
  for (size_t begin = 0; begin < rows.size(); begin += chunk) {
    const size_t size = std::min(chunk, rows.size() - begin);
    const std::span<float> there = std::span(observed).first(size);
    scaler.Apply(rows.subspan(begin, size), std::span(scaled.values).subspan(begin, size), there);
    if (scaled.observed.empty()) {
      if (std::ranges::find(there, 0.0f) == there.end()) continue;
      RETURN_IF_ERROR(scaled.observed.Reserve(rows.size()));
      scaled.observed.resize(begin, 1.0f);
    }
    scaled.observed.insert(scaled.observed.end(), there.begin(), there.end());
  }
  return scaled;
}

// Of what a checkpoint goes on with: rows that have segments are split in another way.
std::string Sha256OfRows(const Dataset& dataset) {
  return Sha256Hex({absl::StrCat(absl::StrJoin(dataset.feature_names, "\n"), dataset.segments.empty() ? "" : "\n\n"),
                    {reinterpret_cast<const char*>(dataset.values.data()), dataset.values.size() * sizeof(float)}});
}

// The asked-for rate, or by default the finest one near 1 % that the errors resolve, with a warning.
double ChooseRate(size_t samples, v1::Recipe* recipe, v1::TrainingReport* report) {
  v1::CalibrationRecipe* calibration = recipe->mutable_calibration();
  if (!calibration->has_false_positive_rate()) {
    const double finest = 1.0 / static_cast<double>(samples + 1);
    calibration->set_false_positive_rate(std::max(kDefaultFalsePositiveRate, finest));
    if (finest > kDefaultFalsePositiveRate) {
      v1::Warning* warning = report->add_warnings();
      warning->set_kind(v1::Warning::FEW_CALIBRATION_ROWS);
      warning->set_text(
          absl::StrFormat("%d calibration vectors resolve no false-positive rate below %.3g: that is the "
                          "threshold's; calibrate with more normal data to reach %g",
                          samples, finest, kDefaultFalsePositiveRate));
    }
  }
  return calibration->false_positive_rate();
}

// What CalibrationSamples would say of them once it is too late.
absl::StatusOr<uint64_t> CountSegments(const EntityColumn& segments) {
  uint64_t named = 0;
  for (const std::string& name : segments.names()) {
    if (const absl::Status status = CalibrationSamples::CheckSegment(name); !status.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("data: ", status.message()));
    }
    named += name.empty() ? 0 : 1;
  }
  if (named <= CalibrationSamples::kMaxSegments) return named;
  return absl::InvalidArgumentError(absl::StrCat("data: segment: expected at most ", CalibrationSamples::kMaxSegments,
                                                 " in one calibration, got ", named));
}

// The errors of the rows held out for it, each of its newest row's segment, as in scoring. Those with nothing missing
// are offered to `probe`. `rows` are the data set's in the split's order.
absl::StatusOr<CalibrationSamples> GatherSamples(const Detector& detector, const DataSplit& split,
                                                 std::span<const float> rows, const SegmentOf& segment_of,
                                                 uint32_t block_rows, MissingnessProbe* probe) {
  CalibrationSamples samples;
  AutocorrelationTrace trace;
  const size_t features = detector.features(), window = detector.window();
  for (size_t run = 0; run < split.calibration.size(); ++run) {
    const auto part = RowsOf(rows, features, split.calibration[run]);
    BlockPicker picker(block_rows, run);
    const std::string name = absl::StrFormat("%d", run);
    size_t next = 0;
    RETURN_IF_ERROR(detector.VisitErrors(part, 1, [&](size_t vector, float error, uint8_t missing_level) {
      bool taken = false;
      for (; next <= vector; ++next) taken = picker.TakesNext();
      if (!taken) return absl::OkStatus();
      trace.Add(name, error);
      if (missing_level == 0) probe->Offer(part.subspan(vector * features, window * features));
      return samples.Add(error, segment_of(split.calibration[run].begin + vector + window - 1), missing_level);
    }));
  }
  samples.autocorrelation_time = trace.Time();
  samples.block_rows = block_rows > 1 ? block_rows : 0;
  return samples;
}

std::vector<Stretch> StretchesOf(std::span<const float> rows, size_t features, const std::vector<Segment>& segments) {
  std::vector<Stretch> stretches;
  stretches.reserve(segments.size());
  for (const Segment& segment : segments) {
    stretches.push_back({.rows = RowsOf(rows, features, segment), .first = segment.begin});
  }
  return stretches;
}

// Where neighbours have much the same error, the errors are not as many as they seem.
void WarnOfDependence(const Calibration& calibration, v1::TrainingReport* report) {
  const double effective = calibration.effective_samples(), rate = calibration.false_positive_rate();
  const bool resolves = calibration.tail() ? effective >= static_cast<double>(TailFit::kMinSamples)
                                           : Calibration::Resolves(static_cast<uint64_t>(effective), rate);
  if (resolves) return;
  for (const v1::Warning& warning : report->warnings()) {
    if (warning.kind() == v1::Warning::FEW_CALIBRATION_ROWS) return;
  }
  v1::Warning* warning = report->add_warnings();
  warning->set_kind(v1::Warning::FEW_CALIBRATION_ROWS);
  warning->set_text(
      absl::StrFormat("%d calibration vectors are worth %.0f independent ones, as neighbours have much the same error: "
                      "rows may be flagged more often than %.3g; calibrate with more normal data",
                      calibration.samples(), effective, rate));
}

// Where rows are judged alone by default, though one seems to follow from the other.
void WarnOfOrder(const v1::Recipe& incomplete, const v1::Recipe& recipe, const Dataset& dataset, TimeOrder* order,
                 v1::TrainingReport* report) {
  const bool rows = !recipe.features().has_sequence() && !recipe.features().has_log();
  if (!rows || incomplete.features().has_window() || recipe.features().window() > 1) return;
  const std::vector<double>& correlations = order->autocorrelations();
  const auto most = std::ranges::max_element(correlations);
  if (*most < kSeriesAutocorrelation) return;
  v1::Warning* warning = report->add_warnings();
  warning->set_kind(v1::Warning::MAYBE_TIME_ORDERED);
  warning->set_text(absl::StrFormat(
      "rows are judged alone, but '%s' follows from row to row (lag-1 autocorrelation %.2f): if rows follow each other "
      "in time, a recipe with features { window: 20 } sees more",
      ShownText(dataset.feature_names[static_cast<size_t>(most - correlations.begin())]), *most));
}

}  // namespace

absl::StatusOr<TrainedDetector> Train(const v1::Recipe& incomplete, const Dataset& dataset,
                                      const ProgressCallback& progress, const std::string& checkpoint_path,
                                      std::shared_ptr<const LogTransform> log, size_t threads) {
  if (dataset.rows() == 0) return absl::InvalidArgumentError("data: expected rows, got none");
  if (incomplete.features().has_log() != (log != nullptr)) {
    return absl::InvalidArgumentError("features.log: is for log lines, and needed for them");
  }
  TimeOrder order(dataset);
  ASSIGN_OR_RETURN(v1::Recipe recipe, CompleteRecipe(incomplete, dataset, &order));
  const size_t features = dataset.features(), window = recipe.features().window();
  const Scratch& scratch = dataset.values.scratch();
  const bool time_ordered = window > 1 || order.IsTimeOrdered(recipe.features());
  ASSIGN_OR_RETURN(const uint64_t segments, CountSegments(dataset.segments));
  // A threshold for each machine takes held-out rows of each.
  const std::vector<uint32_t> apart =
      dataset.segments.empty() ? std::vector<uint32_t>() : RunBegins(dataset, /*max_gap_seconds=*/0);
  ASSIGN_OR_RETURN(const DataSplit split,
                   SplitData(recipe, dataset.rows(), time_ordered,
                             RunBegins(dataset, recipe.stream().max_gap_seconds()), scratch, apart));
  ASSIGN_OR_RETURN(const ScratchVector<float> reordered, Reordered(dataset, split.order));
  const std::span<const float> rows = split.order.empty() ? std::span<const float>(dataset.values) : reordered;
  ASSIGN_OR_RETURN(Pipeline pipeline, FitPipeline(recipe, dataset, rows, split, std::move(log)));

  ASSIGN_OR_RETURN(ScaledRows scaled, ScaleRows(pipeline.scaler(), rows, scratch));
  if (window > 1 && !scaled.observed.empty()) CarryReadings(split, features, scaled.observed, scaled.values);
  const auto vectors = [&](const std::vector<Segment>& segments, size_t limit) {
    return VectorSet(scaled.values, scaled.observed, features, window, segments, limit);
  };
  const VectorSet training = vectors(split.training, 0);
  const VectorSet validation = vectors(split.validation, kMaxJudgingVectors);
  if (recipe.calibration().has_false_positive_rate()) {
    // Before anybody waits for a training that cannot be calibrated.
    RETURN_IF_ERROR(Calibration::CheckSamples(vectors(split.calibration, 0).size() / recipe.calibration().block_rows(),
                                              recipe.calibration().false_positive_rate()));
  }

  ASSIGN_OR_RETURN(Network network, Network::Create(BuildNetworkSpec(recipe, pipeline.width())));
  Random initialise(recipe.seed(), kInitialiseStream);
  network.Initialise(initialise);
  const Network untrained = network.Clone();
  Checkpoint checkpoint;
  if (!checkpoint_path.empty()) {
    ASSIGN_OR_RETURN(checkpoint, OpenCheckpoint(checkpoint_path, recipe, Sha256OfRows(dataset)));
  }
  if (recipe.training().has_pretraining() && !checkpoint.begun()) {
    ASSIGN_OR_RETURN(const std::vector<double> losses,
                     Pretrain(recipe, training, validation, &network, progress, threads));
    checkpoint.state.mutable_pretraining_losses()->Assign(losses.begin(), losses.end());
  }
  const auto pretraining_losses = checkpoint.state.pretraining_losses();
  ASSIGN_OR_RETURN(const TrainingResult result,
                   TrainNetwork(recipe, training, validation, &network, progress, std::move(checkpoint), threads));
  RETURN_IF_ERROR(SetWeightPrecision(validation, &network, &recipe));

  TrainedDetector trained;
  v1::TrainingReport& report = trained.report;
  ASSIGN_OR_RETURN(*report.mutable_comparison(),
                   CompareReconstructions(recipe, network, untrained, vectors(split.training, kMaxPcaVectors),
                                          validation, vectors(split.calibration, kMaxJudgingVectors)));
  ASSIGN_OR_RETURN(ScoreChoice score,
                   ChooseScore(network, vectors(split.training, kMaxJudgingVectors), validation, &recipe));
  report.mutable_scores()->Assign(score.candidates.begin(), score.candidates.end());

  report.set_rows(dataset.rows());
  report.set_training_vectors(training.size());
  report.set_validation_vectors(vectors(split.validation, 0).size());
  report.set_parameters(network.parameter_count());
  report.set_steps(result.steps);
  report.set_best_step(result.best_step);
  report.set_stopped_early(result.stopped_early);
  report.mutable_losses()->Assign(result.losses.begin(), result.losses.end());
  *report.mutable_pretraining_losses() = pretraining_losses;
  AddWarnings(recipe, pipeline, &report);
  WarnOfOrder(incomplete, recipe, dataset, &order, &report);

  // Errors come from the detector itself, so that calibration and scoring cannot differ.
  DeviationRules rules = DeviationRules::Compile(recipe.rule(), pipeline);
  const std::shared_ptr<DetectorModel> model(new DetectorModel{.name = recipe.name(),
                                                               .version = 0,
                                                               .artifact_sha256 = "",
                                                               .recipe = {},
                                                               .pipeline = std::move(pipeline),
                                                               .score_scale = std::move(score.scale),
                                                               .rules = std::move(rules),
                                                               .executors = ExecutorPool(std::move(network))});
  const Detector uncalibrated(model, nullptr);
  MissingnessProbe probe(&uncalibrated);
  const SegmentOf segment_of = [&](size_t row) {
    if (dataset.segments.empty()) return absl::string_view();
    return absl::string_view(dataset.segments[split.order.empty() ? row : split.order[row]]);
  };
  ASSIGN_OR_RETURN(CalibrationSamples samples,
                   GatherSamples(uncalibrated, split, rows, segment_of, recipe.calibration().block_rows(), &probe));
  if (samples.all.samples() == 0) {
    return absl::InvalidArgumentError("data: every row held out for calibration has no value at all");
  }
  report.set_calibration_vectors(samples.all.samples());
  const double rate = ChooseRate(samples.all.samples(), &recipe, &report);
  RETURN_IF_ERROR(probe.Fill(rate, &samples));
  ASSIGN_OR_RETURN(Calibration calibration, Calibration::Create(std::move(samples), rate, {}));
  WarnOfDependence(calibration, &report);
  report.set_threshold(calibration.threshold());
  report.set_false_positive_rate(rate);
  report.set_segments(segments);
  report.set_own_thresholds(
      static_cast<uint64_t>(std::ranges::count_if(calibration.segments(), &Calibration::Group::own)));

  ASSIGN_OR_RETURN(model->hindsight, FitHindsight(uncalibrated, StretchesOf(rows, features, split.calibration),
                                                  StretchesOf(rows, features, split.training), segment_of, rate));

  model->recipe = std::move(recipe);
  trained.detector =
      std::make_shared<const Detector>(model, std::make_shared<const Calibration>(std::move(calibration)));
  const Segment& held_out = *std::ranges::max_element(split.calibration, {}, &Segment::rows);
  const auto golden = RowsOf(rows, features, {held_out.begin, std::min(held_out.rows, window + kGoldenVectors - 1)});
  trained.golden_rows.assign(golden.begin(), golden.end());
  return trained;
}

}  // namespace astray
