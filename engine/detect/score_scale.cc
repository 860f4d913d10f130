#include "engine/detect/score_scale.h"

#include <Eigen/Cholesky>
#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/detect/score_kind.h"

namespace astray {
namespace {

// The mean square of each of some quantities, floored.
class MeanSquares {
 public:
  explicit MeanSquares(size_t size) : squares_(size), counts_(size) {}

  void Add(size_t i, double value) {
    squares_[i] += value * value;
    counts_[i] += 1;
  }

  void Store(google::protobuf::RepeatedField<float>* out) const {
    double sum = 0, known = 0;
    for (size_t i = 0; i < squares_.size(); ++i) {
      if (counts_[i] == 0) continue;
      sum += squares_[i] / counts_[i];
      known += 1;
    }
    const double mean = known > 0 ? sum / known : 1;
    const double floor = std::max(kVarianceFloor, kVarianceFloorRatio * mean);
    for (size_t i = 0; i < squares_.size(); ++i) {
      const double variance = counts_[i] > 0 ? squares_[i] / counts_[i] : mean;
      out->Add(static_cast<float>(std::clamp<double>(variance, floor, std::numeric_limits<float>::max())));
    }
  }

 private:
  std::vector<double> squares_, counts_;
};

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

// Of each vector the mean residual of each feature over the newest `recent` rows; NaN where nothing is observed there.
void AppendMeanResiduals(const Rebuilt& vectors, size_t features, size_t width, size_t recent,
                         std::vector<double>* means) {
  for (size_t begin = 0; begin < vectors.input.size(); begin += width) {
    for (size_t f = 0; f < features; ++f) {
      double sum = 0, count = 0;
      for (size_t j = begin + width - recent * features + f; j < begin + width; j += features) {
        if (vectors.observed[j] == 0) continue;
        sum += static_cast<double>(vectors.output[j]) - vectors.input[j];
        count += 1;
      }
      means->push_back(count > 0 ? sum / count : std::numeric_limits<double>::quiet_NaN());
    }
  }
}

}  // namespace

absl::StatusOr<v1::ScoreScale> FitScoreScale(const v1::ScoreRecipe& recipe, size_t features, size_t width,
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

  MeanSquares positions(width), levels(features);
  std::vector<double> means;
  for (size_t begin = 0; begin < held_out.input.size(); begin += width) {
    for (size_t j = 0; j < width; ++j) {
      if (held_out.observed[begin + j] == 0) continue;
      const double residual = static_cast<double>(held_out.output[begin + j]) - held_out.input[begin + j];
      if (!std::isfinite(residual)) {
        return absl::InternalError(absl::StrCat("score: vector ", begin / width, " position ", j,
                                                ": expected a finite output, got ", held_out.output[begin + j]));
      }
      positions.Add(j, residual);
    }
  }
  AppendMeanResiduals(held_out, features, width, recent, &means);
  for (size_t i = 0; i < means.size(); ++i) {
    if (!std::isnan(means[i])) levels.Add(i % features, means[i]);
  }
  if (kind == v1::MAHALANOBIS) {
    levels.Store(scale.mutable_level_variance());
    AppendMeanResiduals(training, features, width, recent, &means);
    const Eigen::MatrixXd precision = ShrunkInverse(means, features);
    for (size_t a = 0; a < features; ++a) {
      for (size_t b = 0; b <= a; ++b) scale.add_precision(static_cast<float>(precision(a, b)));
    }
    return scale;
  }
  positions.Store(scale.mutable_residual_variance());
  if (kind == v1::WINDOW_NORMALISED || kind == v1::WINDOW_SCALES) levels.Store(scale.mutable_level_variance());
  return scale;
}

}  // namespace astray
