#include "engine/train/tuning.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/random.h"
#include "engine/base/status_macros.h"
#include "engine/detect/ranking.h"
#include "engine/features/column_profile.h"
#include "engine/train/random_streams.h"
#include "engine/train/recipe.h"
#include "engine/train/time_order.h"
#include "engine/train/train_job.h"

namespace astray {
namespace {

constexpr uint32_t kMaxDefaultWidth = 256;
constexpr size_t kMaxCandidates = 1000;

// Sets the level of a corruption that has one.
bool SetLevel(float level, v1::Corruption* corruption) {
  switch (corruption->kind_case()) {
    case v1::Corruption::kGaussian:
      if (corruption->gaussian().max_sigma() > 0) {
        corruption->mutable_gaussian()->set_max_sigma(level);
      } else {
        corruption->mutable_gaussian()->set_sigma(level);
      }
      return true;
    case v1::Corruption::kClippedGaussian:
      corruption->mutable_clipped_gaussian()->set_sigma(level);
      return true;
    case v1::Corruption::kMasking:
      corruption->mutable_masking()->set_keep_probability(1 - level);
      return true;
    case v1::Corruption::kSaltAndPepper:
      corruption->mutable_salt_and_pepper()->set_probability(level);
      return true;
    case v1::Corruption::kBitFlip:
      corruption->mutable_bit_flip()->set_probability(level);
      return true;
    case v1::Corruption::kFeatureSwap:
      corruption->mutable_feature_swap()->set_probability(level);
      return true;
    case v1::Corruption::kTokenMask:
      corruption->mutable_token_mask()->set_probability(level);
      return true;
    case v1::Corruption::kTokenDeletion:
      corruption->mutable_token_deletion()->set_probability(level);
      return true;
    case v1::Corruption::kSpanMask:
      corruption->mutable_span_mask()->set_share(level);
      return true;
    case v1::Corruption::kInfilling:
      corruption->mutable_infilling()->set_share(level);
      return true;
    default:
      return false;
  }
}

std::vector<double> DefaultLevels(const v1::Recipe& recipe) {
  for (const v1::Corruption& corruption : recipe.corruption()) {
    v1::Corruption copy = corruption;
    if (!SetLevel(0.5f, &copy)) continue;
    if (!corruption.has_gaussian() && !corruption.has_clipped_gaussian()) return {0.05, 0.1, 0.2, 0.4, 0.6};
    break;
  }
  // In units of a standard deviation; a [0, 1] range is about four of them wide.
  if (recipe.features().scaling() == v1::MIN_MAX) return {0.025, 0.05, 0.1, 0.25, 0.5};
  return {0.1, 0.25, 0.5, 1, 2};
}

std::vector<uint32_t> DefaultWidths(size_t vector_width) {
  std::vector<uint32_t> widths;
  for (const double share : {0.25, 0.5, 1.0, 2.0}) {
    const double width = std::max(1.0, share * static_cast<double>(vector_width));
    widths.push_back(std::min(kMaxDefaultWidth, static_cast<uint32_t>(width)));
  }
  widths.erase(std::unique(widths.begin(), widths.end()), widths.end());
  return widths;
}

// Rows that teach and rows that judge.
struct Parts {
  Dataset training, judging;
  std::vector<uint8_t> labels;  // of `judging`: 0, 1, or 2 for rows that do not count
};

void AppendRow(const Dataset& from, size_t row, Dataset* to) {
  to->values.insert(to->values.end(), from.row(row).begin(), from.row(row).end());
  if (!from.timestamps.empty()) to->timestamps.push_back(from.timestamps[row]);
  if (!from.seconds.empty()) to->seconds.push_back(from.seconds[row]);
  to->timed = from.timed;
}

// The last fifth of rows in time, a random fifth of others.
Parts Split(const Dataset& dataset, bool in_time, size_t window, uint64_t seed) {
  Parts parts;
  parts.training.feature_names = parts.judging.feature_names = dataset.feature_names;
  const size_t rows = dataset.rows(), held_out = rows / 5;
  std::vector<uint32_t> order(rows);
  std::iota(order.begin(), order.end(), 0u);
  if (!in_time) Random(seed, kJudgingStream).Shuffle(order);
  for (size_t i = 0; i < rows; ++i)
    AppendRow(dataset, order[i], i < rows - held_out ? &parts.training : &parts.judging);
  parts.labels = InjectAnomalies(window, window, seed, &parts.judging);
  return parts;
}

absl::StatusOr<double> Judge(const Detector& detector, const Dataset& judging, const std::vector<uint8_t>& labels) {
  ScoreResult result;
  RETURN_IF_ERROR(detector.Score(judging.values, {.top_contributors = 0}, &result));
  std::vector<float> scores;
  std::vector<uint8_t> counted;
  for (size_t i = 0; i < result.verdicts.size(); ++i) {
    const uint8_t label = labels[i + detector.window() - 1];
    if (label > 1 || result.verdicts[i].state != Verdict::State::kScored) continue;
    scores.push_back(result.verdicts[i].error);
    counted.push_back(label);
  }
  const double auroc = Auroc(scores, counted);
  if (std::isfinite(auroc)) return auroc;
  return absl::InvalidArgumentError("data: expected normal and anomalous rows to judge on, got one kind only");
}

absl::StatusOr<v1::TuningPoint> TryCandidate(const v1::Recipe& recipe, double level, uint32_t width,
                                             const Dataset& training, std::shared_ptr<const LogTransform> log,
                                             const Dataset& judging, const std::vector<uint8_t>& labels) {
  ASSIGN_OR_RETURN(const v1::Recipe candidate, WithLevelAndWidth(recipe, level, width));
  ASSIGN_OR_RETURN(const TrainedDetector trained, Train(candidate, training, {}, "", std::move(log)));
  v1::TuningPoint point;
  point.set_level(level);
  point.set_code_units(width);
  ASSIGN_OR_RETURN(const double auroc, Judge(*trained.detector, judging, labels));
  point.set_auroc(auroc);
  const v1::Comparison& comparison = trained.report.comparison();
  if (comparison.variance() > 0) point.set_clean(comparison.clean() / comparison.variance());
  point.set_steps(trained.report.steps());
  return point;
}

}  // namespace

absl::StatusOr<v1::Recipe> WithLevelAndWidth(v1::Recipe recipe, double level, uint32_t width) {
  v1::NetworkRecipe* network = recipe.mutable_network();
  if (network->encoder().empty()) {
    return absl::InvalidArgumentError(
        "network: expected an encoder, whose last layer is the code, got a list of layers");
  }
  network->set_encoder(network->encoder_size() - 1, width);
  for (v1::Corruption& corruption : *recipe.mutable_corruption()) {
    if (SetLevel(static_cast<float>(level), &corruption)) return recipe;
  }
  return absl::InvalidArgumentError("corruption: expected one with a level, such as gaussian or masking");
}

std::vector<uint8_t> InjectAnomalies(size_t run, size_t window, uint64_t seed, Dataset* dataset) {
  Random random(seed, kInjectionStream);
  const Dataset before = *dataset;
  const size_t rows = dataset->rows(), features = dataset->features();
  std::vector<double> deviations(features);
  std::vector<float> scratch;
  for (size_t f = 0; f < features; ++f) {
    const auto measured = MeasureColumn(before.feature_names[f], before.values, features, f, &scratch);
    if (measured.ok()) deviations[f] = measured->profile.standard_deviation();  // else the column has no value
  }
  std::vector<uint8_t> labels(rows);
  std::vector<uint32_t> shuffled(features);
  std::iota(shuffled.begin(), shuffled.end(), 0u);
  for (size_t begin = window; begin + run <= rows; begin += 2 * run + window) {
    random.Shuffle(shuffled);
    const auto touched = static_cast<size_t>(std::pow(static_cast<double>(features), random.Uniform()));
    for (size_t k = 0; k < touched; ++k) {
      const size_t f = shuffled[k];
      const bool swap = random.Uniform() < 0.5;
      const size_t from = random.UniformInt(rows - run + 1);
      const double move = (random.Uniform() < 0.5 ? 2 : -2) * deviations[f];
      for (size_t i = begin; i < begin + run; ++i) {
        float& value = dataset->values[i * features + f];
        value = swap ? before.row(from + i - begin)[f] : static_cast<float>(value + move);
      }
    }
    std::fill_n(labels.begin() + static_cast<std::ptrdiff_t>(begin), run, 1);
    for (size_t i = begin + run; i < std::min(rows, begin + run + window - 1); ++i) labels[i] = 2;
  }
  return labels;
}

absl::StatusOr<v1::TuningReport> Tune(const v1::Recipe& incomplete, const Dataset& dataset,
                                      const TuningOptions& options,
                                      const std::function<void(size_t, size_t)>& progress) {
  if (options.log != nullptr && options.labelled == nullptr) {
    return absl::InvalidArgumentError(
        "data: expected labelled sessions to judge on, got a log alone: anomalies are injected into readings, which "
        "move and freeze, not into counts");
  }
  TimeOrder order(dataset);
  ASSIGN_OR_RETURN(const v1::Recipe recipe, CompleteRecipe(incomplete, dataset, &order));
  const size_t window = recipe.features().window();
  const std::vector<double> levels = options.levels.empty() ? DefaultLevels(recipe) : options.levels;
  const std::vector<uint32_t> widths =
      options.widths.empty() ? DefaultWidths(dataset.features() * window) : options.widths;
  const size_t candidates = levels.size() * widths.size();
  if (candidates > kMaxCandidates) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected at most ", kMaxCandidates, " levels x widths, got ", candidates));
  }
  Parts parts;
  if (options.labelled == nullptr) {
    parts = Split(dataset, order.IsTimeOrdered(recipe.features()), window, recipe.seed());
  }
  const Dataset& training = options.labelled == nullptr ? parts.training : dataset;
  const Dataset& judging = options.labelled == nullptr ? parts.judging : *options.labelled;
  const std::vector<uint8_t>& labels = options.labelled == nullptr ? parts.labels : options.labelled->labels;

  std::vector<absl::StatusOr<v1::TuningPoint>> points(candidates, absl::UnknownError("not tried"));
  std::atomic<size_t> next = 0;
  std::atomic<bool> failed = false;
  std::mutex mutex;
  size_t done = 0;
  const auto work = [&] {
    for (size_t i = next++; i < candidates && !failed; i = next++) {
      points[i] = TryCandidate(recipe, levels[i / widths.size()], widths[i % widths.size()], training, options.log,
                               judging, labels);
      if (!points[i].ok()) failed = true;
      const std::lock_guard lock(mutex);
      ++done;
      if (progress) progress(done, candidates);
    }
  };
  std::vector<std::thread> threads;
  for (size_t i = 1; i < std::clamp<size_t>(options.threads, 1, candidates); ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();

  v1::TuningReport report;
  for (size_t i = 0; i < candidates; ++i) {
    if (absl::IsUnknown(points[i].status())) continue;  // one before it failed
    if (!points[i].ok()) {
      return absl::Status(points[i].status().code(),
                          absl::StrCat("level ", levels[i / widths.size()], ", width ", widths[i % widths.size()], ": ",
                                       points[i].status().message()));
    }
    *report.add_points() = *points[i];
    if (points[i]->auroc() > report.points(static_cast<int>(report.best())).auroc()) {
      report.set_best(static_cast<uint32_t>(i));
    }
  }
  report.set_judged_rows(judging.rows());
  report.set_labelled(options.labelled != nullptr);
  return report;
}

}  // namespace astray
