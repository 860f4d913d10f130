#include "engine/detect/score_kind.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"

namespace astray {
namespace {

constexpr double kLargest = std::numeric_limits<float>::max();

// Keeps sums and shares comparable where a network's output overflowed.
double Hold(double value) { return std::isnan(value) ? kLargest : std::min(value, kLargest); }

}  // namespace

absl::StatusOr<v1::ScoreScale> FitScoreScale(v1::ScoreKind kind, size_t width, std::span<const float> input,
                                             std::span<const float> output, std::span<const float> observed) {
  v1::ScoreScale scale;
  scale.set_kind(kind);
  if (kind == v1::MEAN_SQUARED) return scale;
  if (kind != v1::FEATURE_NORMALISED) {
    return absl::InvalidArgumentError(
        absl::StrCat("score.kind: expected MEAN_SQUARED or FEATURE_NORMALISED, got ", kind));
  }
  if (width == 0 || input.empty() || input.size() % width != 0 || output.size() != input.size() ||
      observed.size() != input.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("score: expected input, output and observed of at least one vector of ", width, ", got ",
                     input.size(), ", ", output.size(), " and ", observed.size(), " values"));
  }
  std::vector<double> squares(width);
  std::vector<double> counts(width);
  for (size_t i = 0; i < input.size(); ++i) {
    if (observed[i] == 0) continue;
    const double residual = static_cast<double>(output[i]) - input[i];
    if (!std::isfinite(residual)) {
      return absl::InternalError(absl::StrCat("score: vector ", i / width, " position ", i % width,
                                              ": expected a finite output, got ", output[i]));
    }
    squares[i % width] += residual * residual;
    counts[i % width] += 1;
  }

  double sum = 0;
  double positions = 0;
  for (size_t j = 0; j < width; ++j) {
    if (counts[j] == 0) continue;
    squares[j] /= counts[j];
    sum += squares[j];
    positions += 1;
  }
  const double mean = positions > 0 ? sum / positions : 1;
  const double floor = std::max(kVarianceFloor, kVarianceFloorRatio * mean);
  for (size_t j = 0; j < width; ++j) {
    const double variance = std::clamp(counts[j] > 0 ? squares[j] : mean, floor, kLargest);
    scale.add_residual_variance(static_cast<float>(variance));
  }
  return scale;
}

absl::Status CheckScoreScale(const v1::ScoreScale& scale, size_t width) {
  size_t expected = 0;
  if (scale.kind() == v1::FEATURE_NORMALISED) {
    expected = width;
  } else if (scale.kind() != v1::MEAN_SQUARED) {
    return absl::InvalidArgumentError(
        absl::StrCat("score: kind: expected MEAN_SQUARED or FEATURE_NORMALISED, got ", scale.kind()));
  }
  if (static_cast<size_t>(scale.residual_variance_size()) != expected) {
    return absl::InvalidArgumentError(
        absl::StrCat("score: residual_variance: expected ", expected, " values, got ", scale.residual_variance_size()));
  }
  for (int j = 0; j < scale.residual_variance_size(); ++j) {
    const float variance = scale.residual_variance(j);
    if (!std::isfinite(variance) || !(variance > 0)) {
      return absl::InvalidArgumentError(
          absl::StrCat("score: residual_variance ", j, ": expected a finite number above 0, got ", variance));
    }
  }
  return absl::OkStatus();
}

float VectorError(const v1::ScoreScale& scale, std::span<const float> input, std::span<const float> output,
                  std::span<const float> observed, std::span<float> feature_error) {
  const float* variance = scale.kind() == v1::FEATURE_NORMALISED ? scale.residual_variance().data() : nullptr;
  const auto term = [&](size_t j) {
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
