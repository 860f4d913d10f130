#include "engine/detect/score_kind.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/status_macros.h"
#include "engine/nn/loss.h"

namespace astray {
namespace {

constexpr double kLargest = std::numeric_limits<float>::max();

// Keeps sums and shares comparable where a network's output overflowed.
double Hold(double value) { return std::isnan(value) ? kLargest : std::min(value, kLargest); }

absl::Status CheckKind(absl::string_view field, v1::ScoreKind kind) {
  if (kind >= v1::MEAN_SQUARED && kind <= v1::TRAINING_LOSS) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      field, ": expected MEAN_SQUARED, FEATURE_NORMALISED, WINDOW_NORMALISED or TRAINING_LOSS, got ", kind));
}

absl::Status CheckVariances(absl::string_view field, const google::protobuf::RepeatedField<float>& variances,
                            size_t expected) {
  if (static_cast<size_t>(variances.size()) != expected) {
    return absl::InvalidArgumentError(
        absl::StrCat("score: ", field, ": expected ", expected, " values, got ", variances.size()));
  }
  for (int j = 0; j < variances.size(); ++j) {
    if (!std::isfinite(variances.Get(j)) || !(variances.Get(j) > 0)) {
      return absl::InvalidArgumentError(
          absl::StrCat("score: ", field, " ", j, ": expected a finite number above 0, got ", variances.Get(j)));
    }
  }
  return absl::OkStatus();
}

// The mean square of each of some quantities, floored (score_kind.h says why).
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
      out->Add(static_cast<float>(std::clamp(variance, floor, kLargest)));
    }
  }

 private:
  std::vector<double> squares_, counts_;
};

// WINDOW_NORMALISED; `part` is called with each observed feature and its term, before the mean is taken.
template <typename Part>
double WindowNormalised(const v1::ScoreScale& scale, std::span<const float> input, std::span<const float> output,
                        std::span<const float> observed, double* observed_features, Part part) {
  const size_t features = static_cast<size_t>(scale.level_variance_size());
  const float* position_variance = scale.residual_variance().data();
  const float* level_variance = scale.level_variance().data();
  double sum = 0;
  *observed_features = 0;
  for (size_t f = 0; f < features; ++f) {
    double level = 0, spread = 0, count = 0;
    for (size_t j = f; j < input.size(); j += features) {
      if (observed[j] == 0) continue;
      const double residual = static_cast<double>(output[j]) - input[j];
      level += residual;
      spread += residual * residual / position_variance[j];
      count += 1;
    }
    if (count == 0) continue;
    level /= count;
    const double term = Hold(std::max(level * level / level_variance[f], spread / count));
    *observed_features += 1;
    sum += term;
    part(f, term);
  }
  return sum;
}

}  // namespace

absl::StatusOr<v1::ScoreScale> FitScoreScale(v1::ScoreKind kind, size_t features, size_t width,
                                             std::span<const float> input, std::span<const float> output,
                                             std::span<const float> observed) {
  v1::ScoreScale scale;
  scale.set_kind(kind);
  RETURN_IF_ERROR(CheckKind("score.kind", kind));
  if (kind == v1::MEAN_SQUARED || kind == v1::TRAINING_LOSS) return scale;
  if (features == 0 || width == 0 || width % features != 0 || input.empty() || input.size() % width != 0 ||
      output.size() != input.size() || observed.size() != input.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("score: expected input, output and observed of at least one vector of ", width, " (", features,
                     " features), got ", input.size(), ", ", output.size(), " and ", observed.size(), " values"));
  }
  MeanSquares positions(width), levels(features);
  for (size_t begin = 0; begin < input.size(); begin += width) {
    for (size_t f = 0; f < features; ++f) {
      double sum = 0, count = 0;
      for (size_t j = f; j < width; j += features) {
        if (observed[begin + j] == 0) continue;
        const double residual = static_cast<double>(output[begin + j]) - input[begin + j];
        if (!std::isfinite(residual)) {
          return absl::InternalError(absl::StrCat("score: vector ", begin / width, " position ", j,
                                                  ": expected a finite output, got ", output[begin + j]));
        }
        positions.Add(j, residual);
        sum += residual;
        count += 1;
      }
      if (count > 0) levels.Add(f, sum / count);
    }
  }
  positions.Store(scale.mutable_residual_variance());
  if (kind == v1::WINDOW_NORMALISED) levels.Store(scale.mutable_level_variance());
  return scale;
}

absl::Status CheckScoreScale(const v1::ScoreScale& scale, size_t features, size_t width) {
  RETURN_IF_ERROR(CheckKind("score: kind", scale.kind()));
  const bool normalised = scale.kind() == v1::FEATURE_NORMALISED || scale.kind() == v1::WINDOW_NORMALISED;
  RETURN_IF_ERROR(CheckVariances("residual_variance", scale.residual_variance(), normalised ? width : 0));
  if (scale.kind() == v1::TRAINING_LOSS && (scale.loss() == v1::LOSS_UNSPECIFIED || !v1::Loss_IsValid(scale.loss()))) {
    return absl::InvalidArgumentError(absl::StrCat("score: loss: expected one for TRAINING_LOSS, got ", scale.loss()));
  }
  return CheckVariances("level_variance", scale.level_variance(), scale.kind() == v1::WINDOW_NORMALISED ? features : 0);
}

float VectorError(const v1::ScoreScale& scale, std::span<const float> input, std::span<const float> output,
                  std::span<const float> observed, std::span<float> feature_error) {
  if (scale.kind() == v1::WINDOW_NORMALISED) {
    double count = 0;
    const double sum = WindowNormalised(scale, input, output, observed, &count, [](size_t, double) {});
    if (count == 0) return std::numeric_limits<float>::quiet_NaN();
    if (!feature_error.empty()) {
      double ignored = 0;
      WindowNormalised(scale, input, output, observed, &ignored, [&](size_t f, double term) {
        feature_error[f] = static_cast<float>(Hold(feature_error[f] + term / count));
      });
    }
    return static_cast<float>(Hold(sum / count));
  }
  const float* variance = scale.kind() == v1::FEATURE_NORMALISED ? scale.residual_variance().data() : nullptr;
  const bool by_loss = scale.kind() == v1::TRAINING_LOSS;
  const auto term = [&](size_t j) {
    if (by_loss) return observed[j] == 0 ? 0.0 : std::max(0.0, LossAt(scale.loss(), output, j, input[j]));
    const double residual = static_cast<double>(output[j]) - input[j];
    const double square = residual * residual;
    return observed[j] == 0 ? 0.0 : (variance == nullptr ? square : square / variance[j]);
  };

  // Several sums at once: one alone would wait for each addition. Their order depends on the width only.
  constexpr size_t kLanes = 4;
  std::array<double, kLanes> sums = {};
  std::array<double, kLanes> counts = {};
  const size_t width = input.size();
  size_t j = 0;
  for (; j + kLanes <= width; j += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      sums[lane] += term(j + lane);
      counts[lane] += observed[j + lane];
    }
  }
  for (; j < width; ++j) {
    sums[0] += term(j);
    counts[0] += observed[j];
  }
  const double count = (counts[0] + counts[1]) + (counts[2] + counts[3]);
  if (count == 0) return std::numeric_limits<float>::quiet_NaN();

  if (!feature_error.empty()) {
    for (size_t i = 0; i < width; ++i) {
      float& part = feature_error[i % feature_error.size()];
      part = static_cast<float>(Hold(part + term(i) / count));
    }
  }
  return static_cast<float>(Hold(((sums[0] + sums[1]) + (sums[2] + sums[3])) / count));
}

}  // namespace astray
