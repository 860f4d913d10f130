#include "engine/detect/score_scale.h"

#include <Eigen/Cholesky>
#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/detect/error_formula.h"
#include "engine/detect/mahalanobis.h"
#include "engine/detect/score_kind.h"

namespace astray {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// The mean square of each of some quantities.
class MeanSquares {
 public:
  explicit MeanSquares(size_t size) : squares_(size), counts_(size) {}

  void Add(size_t i, double value) {
    if (std::isnan(value)) return;  // missing
    squares_[i] += value * value;
    counts_[i] += 1;
  }

  size_t size() const { return squares_.size(); }
  double mean(size_t i) const { return counts_[i] == 0 ? kNaN : squares_[i] / counts_[i]; }

 private:
  std::vector<double> squares_, counts_;
};

// Of each quantity the larger one of both, floored.
std::vector<double> Variances(const MeanSquares& held_out, const MeanSquares& training) {
  std::vector<double> variances(held_out.size());
  double sum = 0, known = 0;
  for (size_t i = 0; i < variances.size(); ++i) {
    variances[i] = std::fmax(held_out.mean(i), training.mean(i));  // the other one where one is NaN
    if (std::isnan(variances[i])) continue;
    sum += variances[i];
    known += 1;
  }
  const double mean = known > 0 ? sum / known : 1;
  const double floor = std::max(kVarianceFloor, kVarianceFloorRatio * mean);
  for (double& variance : variances) {
    variance = std::clamp<double>(std::isnan(variance) ? mean : variance, floor, std::numeric_limits<float>::max());
  }
  return variances;
}

void Store(const std::vector<double>& values, google::protobuf::RepeatedField<float>* out) {
  for (const double value : values) out->Add(static_cast<float>(value));
}

// The correlation of z's columns around 0, [features x features]; 0 for pairs never seen together. NaN is missing.
Eigen::MatrixXd Correlation(const std::vector<double>& z, size_t features, Eigen::MatrixXd* variance_of_entries) {
  Eigen::MatrixXd correlation = Eigen::MatrixXd::Identity(features, features);
  *variance_of_entries = Eigen::MatrixXd::Zero(features, features);
  const size_t vectors = z.size() / features;
  for (size_t a = 0; a < features; ++a) {
    for (size_t b = 0; b < a; ++b) {
      double count = 0, sum = 0, squares = 0, square_a = 0, square_b = 0;
      for (size_t i = 0; i < vectors; ++i) {
        const double x = z[i * features + a], y = z[i * features + b];
        if (std::isnan(x) || std::isnan(y)) continue;
        count += 1;
        sum += x * y;
        squares += x * y * x * y;
        square_a += x * x;
        square_b += y * y;
      }
      const double norm = std::sqrt(square_a * square_b);
      if (count < 2 || norm == 0) continue;
      correlation(a, b) = correlation(b, a) = sum / norm;
      const double mean = sum / count;
      (*variance_of_entries)(a, b) = (squares / count - mean * mean) / (count - 1) * (count / norm) * (count / norm);
    }
  }
  return correlation;
}

// Toward the identity, with the weight that costs least in expectation (Schäfer & Strimmer 2005, target D for
// correlations); more where what is left has no inverse.
Eigen::MatrixXd ShrunkInverse(const std::vector<double>& z, size_t features) {
  Eigen::MatrixXd entry_variance;
  const Eigen::MatrixXd correlation = Correlation(z, features, &entry_variance);
  double uncertain = 0, squares = 0;
  for (size_t a = 0; a < features; ++a) {
    for (size_t b = 0; b < a; ++b) {
      uncertain += entry_variance(a, b);
      squares += correlation(a, b) * correlation(a, b);
    }
  }
  double weight = std::clamp(squares > 0 ? uncertain / squares : 1.0, kLeastShrinkage, 1.0);
  const Eigen::MatrixXd identity = Eigen::MatrixXd::Identity(features, features);
  while (true) {
    const Eigen::MatrixXd shrunk = (1 - weight) * correlation + weight * identity;
    const Eigen::LLT<Eigen::MatrixXd> cholesky(shrunk);
    // Pairs that were seen on different vectors can make a matrix that is no correlation.
    if (cholesky.info() == Eigen::Success || weight >= 1) return cholesky.solve(identity);
    weight = std::min(1.0, 1.5 * weight);
  }
}

absl::Status CheckSizes(const Rebuilt& vectors, size_t width) {
  if (vectors.input.size() % width == 0 && vectors.output.size() == vectors.input.size() &&
      vectors.observed.size() == vectors.input.size()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("score: expected input, output and observed of vectors of ", width,
                                                 ", got ", vectors.input.size(), ", ", vectors.output.size(), " and ",
                                                 vectors.observed.size(), " values"));
}

// Of each vector the mean of each feature over the newest `recent` rows, of the residuals or of the readings; NaN where
// nothing is observed there.
enum class MeanOf { kResiduals, kReadings };
std::vector<double> Means(MeanOf of, const Rebuilt& vectors, size_t features, size_t width, size_t recent) {
  std::vector<double> means;
  for (size_t begin = 0; begin < vectors.input.size(); begin += width) {
    for (size_t f = 0; f < features; ++f) {
      double sum = 0, count = 0;
      for (size_t j = begin + width - recent * features + f; j < begin + width; j += features) {
        if (vectors.observed[j] == 0) continue;
        sum += of == MeanOf::kReadings ? vectors.input[j] : static_cast<double>(vectors.output[j]) - vectors.input[j];
        count += 1;
      }
      means.push_back(count > 0 ? sum / count : kNaN);
    }
  }
  return means;
}

absl::StatusOr<MeanSquares> PositionSquares(const Rebuilt& vectors, size_t width) {
  MeanSquares squares(width);
  for (size_t at = 0; at < vectors.input.size(); ++at) {
    if (vectors.observed[at] == 0) continue;
    const double residual = static_cast<double>(vectors.output[at]) - vectors.input[at];
    if (!std::isfinite(residual)) {
      return absl::InternalError(absl::StrCat("score: vector ", at / width, " position ", at % width,
                                              ": expected a finite output, got ", vectors.output[at]));
    }
    squares.Add(at % width, residual);
  }
  return squares;
}

MeanSquares SquaresOf(const std::vector<double>& means, size_t features) {
  MeanSquares squares(features);
  for (size_t i = 0; i < means.size(); ++i) squares.Add(i % features, means[i]);
  return squares;
}

void StorePrecision(const std::vector<double>& z, size_t features, google::protobuf::RepeatedField<float>* out) {
  const Eigen::MatrixXd precision = ShrunkInverse(z, features);
  for (size_t a = 0; a < features; ++a) {
    for (size_t b = 0; b <= a; ++b) out->Add(static_cast<float>(precision(a, b)));
  }
}

// The errors that `scale` gives the vectors; those with nothing observed left out.
std::vector<double> KnownErrors(const v1::ScoreScale& scale, const Rebuilt& vectors, size_t width) {
  std::vector<float> errors(vectors.input.size() / width);
  ErrorFormula::Scratch scratch;
  ErrorFormula(scale).Errors({.count = errors.size(),
                              .width = width,
                              .outputs = width,
                              .input = vectors.input.data(),
                              .output = vectors.output.data(),
                              .observed = vectors.observed.data()},
                             &scratch, errors);
  std::vector<double> known(errors.begin(), errors.end());
  std::erase_if(known, [](double error) { return std::isnan(error); });
  return known;
}

// What T² (score_kind.h) needs, of the readings alone; without limit and factor.
v1::TSquaredScale FitReadings(size_t rows, size_t features, size_t width, const Rebuilt& held_out,
                              const Rebuilt& training) {
  v1::TSquaredScale scale;
  scale.set_rows(static_cast<uint32_t>(rows));
  std::vector<double> seen = Means(MeanOf::kReadings, training, features, width, rows);
  std::vector<double> unseen = Means(MeanOf::kReadings, held_out, features, width, rows);
  const std::vector<double>& of_mean = seen.empty() ? unseen : seen;
  for (size_t f = 0; f < features; ++f) {
    double sum = 0, count = 0;
    for (size_t i = f; i < of_mean.size(); i += features) {
      if (std::isnan(of_mean[i])) continue;
      sum += of_mean[i];
      count += 1;
    }
    scale.add_mean(static_cast<float>(count > 0 ? sum / count : 0));
  }
  for (auto* means : {&seen, &unseen}) {
    for (size_t i = 0; i < means->size(); ++i) (*means)[i] -= scale.mean(static_cast<int>(i % features));
  }
  for (const double variance : Variances(SquaresOf(unseen, features), SquaresOf(seen, features))) {
    scale.add_deviation(static_cast<float>(std::sqrt(variance)));
  }
  seen.insert(seen.end(), unseen.begin(), unseen.end());
  StorePrecision(seen, features, scale.mutable_precision());
  return scale;
}

// Adds T² to a fitted scale. It stays out where the normal vectors' errors or T² are all 0: there is nothing to
// compare.
void AddTSquared(size_t rows, size_t width, const Rebuilt& held_out, const Rebuilt& training, v1::ScoreScale* scale) {
  constexpr double kErrorsBeyond = 0.01, kReadingsBeyond = 0.005;  // shares of normal vectors
  const std::vector<double> errors = KnownErrors(*scale, held_out, width);
  // With an error of 0 besides, what a scale gives is T² alone.
  v1::ScoreScale alone;
  alone.set_kind(v1::MEAN_SQUARED);
  alone.set_features(scale->features());
  *alone.mutable_t_squared() = FitReadings(rows, scale->features(), width, held_out, training);
  alone.mutable_t_squared()->set_factor(1);
  std::vector<double> t_squared;
  for (const Rebuilt* part : {&held_out, &training}) {
    const auto more = KnownErrors(alone, {part->input, part->input, part->observed}, width);
    t_squared.insert(t_squared.end(), more.begin(), more.end());
  }
  if (errors.empty() || t_squared.empty()) return;
  const double limit = UpperQuantile(t_squared, kReadingsBeyond);
  const double factor = UpperQuantile(errors, kErrorsBeyond) / limit;
  if (!std::isfinite(factor) || factor <= 0) return;
  *scale->mutable_t_squared() = std::move(*alone.mutable_t_squared());
  scale->mutable_t_squared()->set_limit(limit);
  scale->mutable_t_squared()->set_factor(factor);
}

absl::StatusOr<v1::ScoreScale> FitResiduals(const v1::ScoreRecipe& recipe, size_t features, size_t width,
                                            const Rebuilt& held_out, const Rebuilt& training) {
  const v1::ScoreKind kind = recipe.kind();
  RETURN_IF_ERROR(CheckScoreKind("score.kind", kind, features));
  if (features == 0 || width == 0 || width % features != 0 || held_out.input.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("score: expected at least one vector of ", width, " (", features,
                                                   " features), got ", held_out.input.size(), " values"));
  }
  RETURN_IF_ERROR(CheckSizes(held_out, width));
  RETURN_IF_ERROR(CheckSizes(training, width));
  const size_t window = width / features;
  const size_t recent = recipe.recent_rows() == 0 ? window : recipe.recent_rows();
  if (recent > window) {
    return absl::InvalidArgumentError(
        absl::StrCat("score.recent_rows: expected at most the window of ", window, " rows, got ", recent));
  }
  v1::ScoreScale scale;
  scale.set_kind(kind);
  scale.set_features(static_cast<uint32_t>(features));
  if (recent < window) scale.set_recent_rows(static_cast<uint32_t>(recent));
  if (kind == v1::MEAN_SQUARED || kind == v1::TRAINING_LOSS) return scale;

  const auto means = [&](const Rebuilt& vectors) {
    return Means(MeanOf::kResiduals, vectors, features, width, recent);
  };
  // Windows overlap, so that the held-out ones say less than their number.
  const Rebuilt at_least = window > 1 ? training : Rebuilt{};
  ASSIGN_OR_RETURN(const MeanSquares positions, PositionSquares(held_out, width));
  if (kind == v1::MAHALANOBIS || kind == v1::WINDOW_NORMALISED || kind == v1::WINDOW_SCALES) {
    Store(Variances(SquaresOf(means(held_out), features), SquaresOf(means(at_least), features)),
          scale.mutable_level_variance());
  }
  if (kind == v1::MAHALANOBIS) {
    std::vector<double> all = means(held_out);
    const std::vector<double> taught = means(training);
    all.insert(all.end(), taught.begin(), taught.end());
    StorePrecision(all, features, scale.mutable_precision());
    return scale;
  }
  ASSIGN_OR_RETURN(const MeanSquares taught_positions, PositionSquares(at_least, width));
  Store(Variances(positions, taught_positions), scale.mutable_residual_variance());
  return scale;
}

}  // namespace

double UpperQuantile(std::vector<double> values, double share) {
  const auto exceeding = static_cast<size_t>(share * static_cast<double>(values.size()));
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(values.size() - 1 - exceeding);
  std::ranges::nth_element(values, at);
  return *at;
}

absl::StatusOr<v1::ScoreScale> FitScoreScale(const v1::ScoreRecipe& recipe, size_t features, size_t width,
                                             const Rebuilt& held_out, const Rebuilt& training) {
  ASSIGN_OR_RETURN(v1::ScoreScale scale, FitResiduals(recipe, features, width, held_out, training));
  const size_t rows = recipe.t_squared_rows();
  RETURN_IF_ERROR(CheckTSquaredRows("score.t_squared_rows", rows, features, width / features));
  if (rows > 0 && recipe.kind() != v1::TRAINING_LOSS) AddTSquared(rows, width, held_out, training, &scale);
  return scale;
}

}  // namespace astray
