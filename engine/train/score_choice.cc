#include "engine/train/score_choice.h"

#include <Eigen/Cholesky>
#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include "engine/base/random.h"
#include "engine/base/status_macros.h"
#include "engine/detect/ranking.h"
#include "engine/detect/score_kind.h"
#include "engine/detect/score_scale.h"
#include "engine/nn/executor.h"
#include "engine/train/random_streams.h"

namespace astray {
namespace {

constexpr size_t kMinVectorsToChoose = 8;
constexpr double kLeastMove = 0.5, kMostMove = 3;  // in scaled units
constexpr size_t kRecentShare = 4;                 // the newest quarter of a window
constexpr size_t kVectorsForScales = 500;          // that tell how far a single row's error goes by chance
constexpr size_t kAnomalies = 2048;                // that are injected, about
constexpr size_t kMostCopies = 16;                 // of one vector
constexpr double kClearly = 2;                     // standard errors
constexpr double kWorthIt = 0.05;                  // nats: what is injected is not what will come

struct Vectors {
  VectorShape shape;
  std::vector<float> values, observed, output;
  std::vector<uint8_t> anomalous;  // one a vector

  size_t size() const { return anomalous.size(); }
  std::span<const float> part(const std::vector<float>& all, size_t i) const {
    return std::span(all).subspan(i * shape.width(), shape.width());
  }
};

absl::Status Rebuild(Executor& executor, size_t outputs, Vectors* vectors) {
  vectors->output.resize(vectors->size() * outputs);
  return executor.Forward(vectors->size(), vectors->values, vectors->output);
}

// Changes some features of the newest rows of one vector; `other` is another normal vector.
void Inject(VectorShape shape, std::span<const float> other, Random& random, std::span<float> vector) {
  std::vector<uint32_t> features(shape.features);
  std::iota(features.begin(), features.end(), 0u);
  random.Shuffle(features);
  const auto touched = static_cast<size_t>(std::pow(static_cast<double>(shape.features), random.Uniform()));
  const auto rows = static_cast<size_t>(std::pow(static_cast<double>(shape.rows), random.Uniform()));
  const uint64_t kind = random.UniformInt(4);
  for (const uint32_t f : std::span(features).first(std::max<size_t>(touched, 1))) {
    const double size = kLeastMove + (kMostMove - kLeastMove) * random.Uniform();
    const double move = random.Uniform() < 0.5 ? size : -size;
    const size_t first = shape.rows - rows;
    const float frozen = vector[(first == 0 ? 0 : first - 1) * shape.features + f];
    for (size_t row = first; row < shape.rows; ++row) {
      const size_t j = row * shape.features + f;
      switch (kind) {
        case 0:
          vector[j] += static_cast<float>(move);
          break;
        case 1:
          vector[j] = other[j];
          break;
        case 2:
          // Of a single row there is nothing to freeze.
          vector[j] = shape.rows > 1 ? frozen : static_cast<float>(vector[j] + move);
          break;
        default:
          vector[j] += static_cast<float>(size * random.Normal());
      }
    }
  }
}

Vectors Gather(const VectorSet& held_out, size_t begin, size_t end) {
  Vectors vectors{.shape = held_out.shape()};
  for (size_t i = begin; i < end; ++i) {
    const auto values = held_out.values(i), observed = held_out.observed(i);
    vectors.values.insert(vectors.values.end(), values.begin(), values.end());
    vectors.observed.insert(vectors.observed.end(), observed.begin(), observed.end());
    vectors.anomalous.push_back(0);
  }
  return vectors;
}

// The normal vectors, and each some more times with anomalies.
Vectors WithAnomalies(const Vectors& normal, uint64_t seed) {
  Random random(seed, kScoreChoiceStream);
  Vectors all = normal;
  const size_t count = normal.size(), width = normal.shape.width();
  const size_t copies = std::clamp<size_t>(kAnomalies / count, 1, kMostCopies);
  for (size_t i = 0; i < copies * count; ++i) {
    const auto values = normal.part(normal.values, i % count), observed = normal.part(normal.observed, i % count);
    all.values.insert(all.values.end(), values.begin(), values.end());
    all.observed.insert(all.observed.end(), observed.begin(), observed.end());
    all.anomalous.push_back(1);
    Inject(normal.shape, normal.part(normal.values, random.UniformInt(count)), random,
           std::span(all.values).last(width));
  }
  return all;
}

// The first is what stands where none is clearly better. WORST_FEATURE is none of them: it finds what is injected into
// few features, and was the poorest on every public data set.
std::vector<v1::ScoreRecipe> Candidates(v1::Loss loss, VectorShape shape, size_t vectors) {
  std::vector<v1::ScoreRecipe> candidates;
  const auto add = [&](v1::ScoreKind kind, size_t recent_rows) {
    v1::ScoreRecipe& score = candidates.emplace_back();
    score.set_kind(kind);
    score.set_recent_rows(static_cast<uint32_t>(recent_rows));
  };
  const size_t window = shape.rows;
  const bool scales_first = vectors >= kVectorsForScales;
  if (window > 1) add(scales_first ? v1::WINDOW_SCALES : v1::WINDOW_NORMALISED, window);
  add(v1::MEAN_SQUARED, window);
  add(v1::FEATURE_NORMALISED, window);
  if (loss != v1::MEAN_SQUARED_ERROR) add(v1::TRAINING_LOSS, window);
  const bool mahalanobis = shape.features > 1 && shape.features <= kMaxMahalanobisFeatures;
  if (mahalanobis) add(v1::MAHALANOBIS, window);
  if (window > 1) {
    const size_t recent = (window + kRecentShare - 1) / kRecentShare;
    if (mahalanobis) add(v1::MAHALANOBIS, recent);
    add(v1::FEATURE_NORMALISED, recent);
    add(scales_first ? v1::WINDOW_NORMALISED : v1::WINDOW_SCALES, window);
  }
  return candidates;
}

// The reconstructions are the first of a network's outputs.
std::vector<float> Reconstructions(const Vectors& vectors) {
  const size_t width = vectors.shape.width(),
               outputs = vectors.size() == 0 ? 0 : vectors.output.size() / vectors.size();
  std::vector<float> reconstructions;
  reconstructions.reserve(vectors.values.size());
  for (size_t i = 0; i < vectors.size(); ++i) {
    const auto first = std::span(vectors.output).subspan(i * outputs, width);
    reconstructions.insert(reconstructions.end(), first.begin(), first.end());
  }
  return reconstructions;
}

absl::StatusOr<v1::ScoreScale> Fit(const v1::ScoreRecipe& score, v1::Loss loss, const Vectors& held_out,
                                   const Vectors& training) {
  const std::vector<float> output = Reconstructions(held_out), training_output = Reconstructions(training);
  ASSIGN_OR_RETURN(v1::ScoreScale scale, FitScoreScale(score, held_out.shape.features, held_out.shape.width(),
                                                       {held_out.values, output, held_out.observed},
                                                       {training.values, training_output, training.observed}));
  if (scale.kind() == v1::TRAINING_LOSS) scale.set_loss(loss);
  return scale;
}

struct Judged {
  v1::ScoreCandidate candidate;
  std::vector<double> log_likelihoods;  // one a vector
};

Judged Judge(const v1::ScoreRecipe& score, const v1::ScoreScale& scale, size_t outputs, const Vectors& vectors) {
  std::vector<float> errors(vectors.size());
  for (size_t i = 0; i < vectors.size(); ++i) {
    const float error =
        VectorError(scale, vectors.part(vectors.values, i), std::span(vectors.output).subspan(i * outputs, outputs),
                    vectors.part(vectors.observed, i), {});
    errors[i] = std::isnan(error) ? 0 : error;  // nothing is known of it, nor said against it
  }
  Judged judged{.log_likelihoods = LogLikelihoods(errors, vectors.anomalous)};
  judged.candidate.set_kind(score.kind());
  judged.candidate.set_recent_rows(score.recent_rows());
  judged.candidate.set_log_score(WeighedMean(judged.log_likelihoods, vectors.anomalous));
  judged.candidate.set_auroc(Auroc(errors, vectors.anomalous));
  return judged;
}

// Whether `a` is better than `b` by more than chance gives. Windows that overlap, and anomalies in the same window,
// count as one.
bool ClearlyBetter(const Judged& a, const Judged& b, const Vectors& vectors) {
  std::vector<double> differences(a.log_likelihoods.size());
  for (size_t i = 0; i < differences.size(); ++i) differences[i] = a.log_likelihoods[i] - b.log_likelihoods[i];
  const double mean = WeighedMean(differences, vectors.anomalous);
  for (double& difference : differences) difference *= difference;
  const double variance = WeighedMean(differences, vectors.anomalous) - mean * mean;
  const double normal = static_cast<double>(std::ranges::count(vectors.anomalous, 0));
  const double independent = std::max(1.0, normal / static_cast<double>(vectors.shape.rows));
  return mean > std::max(kWorthIt, kClearly * std::sqrt(std::max(variance, 0.0) / independent));
}

}  // namespace

double WeighedMean(std::span<const double> values, std::span<const uint8_t> anomalous) {
  std::array<double, 2> sums = {}, counts = {};
  for (size_t i = 0; i < values.size(); ++i) {
    sums[anomalous[i] != 0 ? 1 : 0] += values[i];
    counts[anomalous[i] != 0 ? 1 : 0] += 1;
  }
  return 0.5 * (sums[0] / counts[0] + sums[1] / counts[1]);
}

std::vector<double> LogLikelihoods(std::span<const float> errors, std::span<const uint8_t> anomalous) {
  // P(anomalous) = 1 / (1 + exp(-(a + b x))), x = ln(error) around its mean. Newton's method; a small ridge on b keeps
  // the solution finite where the classes part.
  constexpr double kTiny = 1e-12, kRidge = 1e-4, kConverged = 1e-12, kShortest = 1e-6;
  constexpr int kMostSteps = 50;
  std::vector<double> x(errors.size()), log_likelihoods(errors.size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = std::log(errors[i] + kTiny);
  const double mean = WeighedMean(x, anomalous);
  const double anomalies = static_cast<double>(x.size() - static_cast<size_t>(std::ranges::count(anomalous, 0)));
  const std::array<double, 2> weights = {0.5 / (static_cast<double>(x.size()) - anomalies), 0.5 / anomalies};

  Eigen::Vector2d gradient;
  Eigen::Matrix2d hessian;
  const auto objective = [&](const Eigen::Vector2d& ab) {
    double sum = -0.5 * kRidge * ab[1] * ab[1];
    gradient = {0, -kRidge * ab[1]};
    hessian << 0, 0, 0, kRidge;
    for (size_t i = 0; i < x.size(); ++i) {
      const bool is_anomalous = anomalous[i] != 0;
      const Eigen::Vector2d point(1, x[i] - mean);
      const double z = ab.dot(point), p = 1 / (1 + std::exp(-z)), weight = weights[is_anomalous ? 1 : 0];
      // ln p or ln(1 - p), without overflow
      log_likelihoods[i] = (is_anomalous ? z : 0) - (std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z))));
      sum += weight * log_likelihoods[i];
      gradient += weight * ((is_anomalous ? 1 : 0) - p) * point;
      hessian += weight * p * (1 - p) * point * point.transpose();
    }
    return sum;
  };
  Eigen::Vector2d ab = Eigen::Vector2d::Zero();
  double best = objective(ab);
  for (int step = 0; step < kMostSteps; ++step) {
    const Eigen::Vector2d direction = hessian.ldlt().solve(gradient);
    double length = 1, next = objective(ab + direction);
    // The objective is concave: a short enough step climbs.
    while (!(next >= best) && length > kShortest) next = objective(ab + (length /= 2) * direction);
    if (!(next - best > kConverged)) break;
    ab += length * direction;
    best = next;
  }
  objective(ab);
  return log_likelihoods;
}

absl::StatusOr<ScoreChoice> ChooseScore(const Network& network, const VectorSet& training, const VectorSet& held_out,
                                        v1::Recipe* recipe) {
  ASSIGN_OR_RETURN(const auto executor, Executor::Create(network));
  const size_t outputs = network.output_size(), half = held_out.size() / 2;
  v1::ScoreRecipe* score = recipe->mutable_score();
  ScoreChoice choice;
  Vectors taught = Gather(training, 0, training.size());
  RETURN_IF_ERROR(Rebuild(*executor, outputs, &taught));
  // Columns of a log's counts are no readings that move or freeze.
  const bool choose = !recipe->features().has_log() && held_out.size() >= kMinVectorsToChoose;
  if (score->kind() == v1::SCORE_KIND_UNSPECIFIED && choose) {
    Vectors fitting = Gather(held_out, 0, half);
    RETURN_IF_ERROR(Rebuild(*executor, outputs, &fitting));
    Vectors judging = WithAnomalies(Gather(held_out, half, held_out.size()), recipe->seed());
    RETURN_IF_ERROR(Rebuild(*executor, outputs, &judging));
    std::vector<Judged> judged;
    for (const v1::ScoreRecipe& candidate : Candidates(recipe->loss(), held_out.shape(), held_out.size())) {
      ASSIGN_OR_RETURN(const v1::ScoreScale scale, Fit(candidate, recipe->loss(), fitting, taught));
      judged.push_back(Judge(candidate, scale, outputs, judging));
    }
    const Judged& preferred = judged.front();
    const Judged& best = *std::ranges::max_element(judged, {}, [](const Judged& j) { return j.candidate.log_score(); });
    const v1::ScoreCandidate& chosen = (ClearlyBetter(best, preferred, judging) ? best : preferred).candidate;
    score->set_kind(chosen.kind());
    score->set_recent_rows(chosen.recent_rows());
    for (Judged& j : judged) choice.candidates.push_back(std::move(j.candidate));
  }
  if (score->kind() == v1::SCORE_KIND_UNSPECIFIED) {
    score->set_kind(held_out.shape().rows > 1 ? v1::WINDOW_NORMALISED : v1::FEATURE_NORMALISED);
  }
  if (score->recent_rows() == 0) score->set_recent_rows(static_cast<uint32_t>(held_out.shape().rows));
  Vectors all = Gather(held_out, 0, held_out.size());
  RETURN_IF_ERROR(Rebuild(*executor, outputs, &all));
  ASSIGN_OR_RETURN(choice.scale, Fit(*score, recipe->loss(), all, taught));
  return choice;
}

}  // namespace astray
