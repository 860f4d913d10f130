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
#include "engine/detect/error_formula.h"
#include "engine/detect/mahalanobis.h"
#include "engine/detect/ranking.h"
#include "engine/detect/score_kind.h"
#include "engine/detect/score_scale.h"
#include "engine/nn/executor.h"
#include "engine/train/prototype_fit.h"
#include "engine/train/random_streams.h"
#include "engine/train/recipe.h"

namespace astray {
namespace {

constexpr size_t kMinVectorsToChoose = 8;
constexpr double kLeastMove = 0.5, kMostMove = 3;  // in scaled units
constexpr size_t kVectorsForScales = 500;          // that tell how far a single row's error goes by chance
constexpr size_t kAnomalies = 2048;                // that are injected, about
constexpr size_t kMostCopies = 16;                 // of one vector
constexpr double kClearly = 2;                     // standard errors
constexpr double kWorthIt = 0.05;                  // nats: what is injected is not what will come

// Vectors of a set and their reconstructions, [vectors x width] each.
struct Reconstructed {
  std::vector<float> values, output, observed;

  Rebuilt first(size_t size) const {
    return {std::span(values).first(size), std::span(output).first(size), std::span(observed).first(size)};
  }
  Rebuilt all() const { return first(values.size()); }
};

absl::StatusOr<Reconstructed> Reconstruct(const VectorSet& set, Executor& executor) {
  Reconstructed vectors{.values = set.GatherValues(), .output = {}, .observed = set.GatherObserved()};
  vectors.output.resize(vectors.values.size());
  RETURN_IF_ERROR(executor.Reconstruct(set.size(), vectors.values, vectors.output));
  return vectors;
}

// Normal vectors and such with anomalies, with the network's whole outputs.
struct Vectors {
  VectorShape shape;
  std::vector<float> values, observed, output;
  std::vector<uint8_t> anomalous;  // one a vector

  size_t size() const { return anomalous.size(); }
  std::span<const float> part(const std::vector<float>& all, size_t i) const {
    return std::span(all).subspan(i * shape.width(), shape.width());
  }
};

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

// The normal vectors, and each some more times with anomalies; without outputs.
Vectors WithAnomalies(VectorShape shape, std::span<const float> values, std::span<const float> observed,
                      uint64_t seed) {
  Random random(seed, kScoreChoiceStream);
  const size_t width = shape.width(), count = values.size() / width;
  const size_t copies = std::clamp<size_t>(kAnomalies / count, 1, kMostCopies);
  Vectors all{.shape = shape};
  for (size_t copy = 0; copy <= copies; ++copy) {
    all.values.insert(all.values.end(), values.begin(), values.end());
    all.observed.insert(all.observed.end(), observed.begin(), observed.end());
  }
  all.anomalous.assign((copies + 1) * count, 1);
  std::fill_n(all.anomalous.begin(), count, 0);
  for (size_t i = count; i < all.size(); ++i) {
    const auto other = values.subspan(random.UniformInt(count) * width, width);
    Inject(shape, other, random, std::span(all.values).subspan(i * width, width));
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
    const size_t recent = NewestQuarter(window);
    if (mahalanobis) add(v1::MAHALANOBIS, recent);
    add(v1::FEATURE_NORMALISED, recent);
    add(scales_first ? v1::WINDOW_NORMALISED : v1::WINDOW_SCALES, window);
  }
  return candidates;
}

absl::StatusOr<v1::ScoreScale> Fit(const v1::ScoreRecipe& score, v1::Loss loss, VectorShape shape,
                                   const Rebuilt& held_out, const Rebuilt& training) {
  ASSIGN_OR_RETURN(v1::ScoreScale scale, FitScoreScale(score, shape.features, shape.width(), held_out, training));
  if (scale.kind() == v1::TRAINING_LOSS) scale.set_loss(loss);
  return scale;
}

struct Judged {
  v1::ScoreCandidate candidate;
  std::vector<double> log_likelihoods;  // one a vector
};

Judged Judge(const v1::ScoreRecipe& score, const v1::ScoreScale& scale, size_t outputs, const Vectors& vectors) {
  std::vector<float> errors(vectors.size());
  ErrorFormula::Scratch scratch;
  ErrorFormula(scale).Errors({.count = vectors.size(),
                              .width = vectors.shape.width(),
                              .outputs = outputs,
                              .input = vectors.values.data(),
                              .output = vectors.output.data(),
                              .observed = vectors.observed.data()},
                             &scratch, errors);
  // Nothing is known of a vector without an error, nor said against it.
  std::ranges::replace_if(
      errors, [](float error) { return std::isnan(error); }, 0.0f);
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
  const VectorShape shape = held_out.shape();
  v1::ScoreRecipe* score = recipe->mutable_score();
  ScoreChoice choice;
  ASSIGN_OR_RETURN(const Reconstructed taught, Reconstruct(training, *executor));
  ASSIGN_OR_RETURN(const Reconstructed all, Reconstruct(held_out, *executor));
  // Columns of a log's counts are no readings that move or freeze.
  const bool choose = !recipe->features().has_log() && held_out.size() >= kMinVectorsToChoose;
  if (score->kind() == v1::SCORE_KIND_UNSPECIFIED && choose) {
    const size_t outputs = network.output_size(), half = held_out.size() / 2 * shape.width();
    Vectors judging = WithAnomalies(shape, std::span(all.values).subspan(half), std::span(all.observed).subspan(half),
                                    recipe->seed());
    judging.output.resize(judging.size() * outputs);
    RETURN_IF_ERROR(executor->Forward(judging.size(), judging.values, judging.output));
    std::vector<Judged> judged;
    for (const v1::ScoreRecipe& candidate : Candidates(recipe->loss(), shape, held_out.size())) {
      ASSIGN_OR_RETURN(const v1::ScoreScale scale,
                       Fit(candidate, recipe->loss(), shape, all.first(half), taught.all()));
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
    score->set_kind(shape.rows > 1 ? v1::WINDOW_NORMALISED : v1::FEATURE_NORMALISED);
  }
  // The kind that was chosen may have none.
  if (!CheckTSquared(*recipe, score->t_squared_rows(), shape.features).ok()) score->set_t_squared_rows(0);
  if (score->recent_rows() == 0) score->set_recent_rows(static_cast<uint32_t>(shape.rows));
  ASSIGN_OR_RETURN(choice.scale, Fit(*score, recipe->loss(), shape, all.all(), taught.all()));
  if (score->prototypes() > 0) {
    AddPrototypes(network, score->prototypes(), taught.all(), all.all(), recipe->seed(), &choice.scale);
  }
  return choice;
}

}  // namespace astray
