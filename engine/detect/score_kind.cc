#include "engine/detect/score_kind.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/status_macros.h"
#include "engine/nn/loss.h"

namespace astray {
namespace {

constexpr double kLargest = std::numeric_limits<float>::max();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Keeps sums and shares comparable where a network's output overflowed.
double Hold(double value) { return std::isnan(value) ? kLargest : std::min(value, kLargest); }

void AddPart(double part, float* sum) { *sum = static_cast<float>(Hold(*sum + part)); }

absl::Status CheckNumbers(absl::string_view field, const google::protobuf::RepeatedField<float>& numbers,
                          size_t expected, bool positive) {
  if (static_cast<size_t>(numbers.size()) != expected) {
    return absl::InvalidArgumentError(
        absl::StrCat("score: ", field, ": expected ", expected, " values, got ", numbers.size()));
  }
  for (int j = 0; j < numbers.size(); ++j) {
    if (!std::isfinite(numbers.Get(j)) || (positive && !(numbers.Get(j) > 0))) {
      return absl::InvalidArgumentError(absl::StrCat("score: ", field, " ", j, ": expected a finite number",
                                                     positive ? " above 0" : "", ", got ", numbers.Get(j)));
    }
  }
  return absl::OkStatus();
}

// A vector and the part of it that counts.
struct Residuals {
  std::span<const float> input, output, observed;
  size_t features = 0;
  size_t begin = 0;  // position of the first that counts

  double at(size_t j) const { return static_cast<double>(output[j]) - input[j]; }
  size_t rows() const { return (input.size() - begin) / features; }
};

// m_f over the rows that count; nothing where none of them is observed.
std::optional<double> MeanResidual(const Residuals& vector, size_t f) {
  double sum = 0, count = 0;
  for (size_t j = vector.begin + f; j < vector.input.size(); j += vector.features) {
    if (vector.observed[j] == 0) continue;
    sum += vector.at(j);
    count += 1;
  }
  if (count == 0) return std::nullopt;
  return sum / count;
}

// s_f of the newest `rows` rows; nothing where none of them is observed.
std::optional<double> Spread(const Residuals& vector, const float* variance, size_t f, size_t rows) {
  double sum = 0, count = 0;
  for (size_t j = vector.input.size() - rows * vector.features + f; j < vector.input.size(); j += vector.features) {
    if (vector.observed[j] == 0) continue;
    const double residual = vector.at(j);
    sum += residual * residual / variance[j];
    count += 1;
  }
  if (count == 0) return std::nullopt;
  return sum / count;
}

// What feature f has in the mean of a kind that goes feature by feature; nothing where it has no observed position.
std::optional<double> FeatureTerm(const v1::ScoreScale& scale, const Residuals& vector, size_t f) {
  const float* variance = scale.residual_variance().data();
  const size_t rows = vector.rows();
  const std::optional<double> spread = Spread(vector, variance, f, rows);
  if (!spread) return std::nullopt;
  if (scale.kind() == v1::WORST_FEATURE) return Hold(*spread);
  const double level = *MeanResidual(vector, f);
  double term = std::max(*spread, level * level / scale.level_variance(static_cast<int>(f)));
  if (scale.kind() == v1::WINDOW_SCALES) {
    for (const size_t newest : {NewestQuarter(rows), size_t{1}}) {
      term = std::max(term, Spread(vector, variance, f, newest).value_or(0));
    }
  }
  return Hold(term);
}

float ErrorByFeature(const v1::ScoreScale& scale, const Residuals& vector, std::span<float> feature_error) {
  double sum = 0, count = 0, worst = 0;
  for (size_t f = 0; f < vector.features; ++f) {
    const std::optional<double> term = FeatureTerm(scale, vector, f);
    if (!term) continue;
    count += 1;
    sum += *term;
    worst = std::max(worst, *term);
  }
  if (count == 0) return kNaN;
  const double error = Hold(scale.kind() == v1::WORST_FEATURE ? worst : sum / count);
  if (feature_error.empty() || sum == 0) return static_cast<float>(error);
  for (size_t f = 0; f < vector.features; ++f) {
    AddPart(FeatureTerm(scale, vector, f).value_or(0) / sum * error, &feature_error[f]);
  }
  return static_cast<float>(error);
}

// P's row f times z.
double PrecisionRow(const v1::ScoreScale& scale, std::span<const double> z, size_t f) {
  const float* lower = scale.precision().data();
  double sum = 0;
  for (size_t g = 0; g < z.size(); ++g) {
    const size_t a = std::max(f, g), b = std::min(f, g);
    sum += static_cast<double>(lower[a * (a + 1) / 2 + b]) * z[g];
  }
  return sum;
}

// Gives the features that are missing the values with which the distance is smallest: P is positive definite, so that
// one after the other to its own minimum converges (Gauss-Seidel).
void FillMissing(const v1::ScoreScale& scale, std::span<const bool> missing, std::span<double> z) {
  constexpr int kMostSweeps = 100;
  constexpr double kSmallStep = 1e-6;
  for (int sweep = 0; sweep < kMostSweeps; ++sweep) {
    double largest_step = 0;
    for (size_t f = 0; f < z.size(); ++f) {
      if (!missing[f]) continue;
      const double diagonal = scale.precision(static_cast<int>(f * (f + 3) / 2));
      const double step = -PrecisionRow(scale, z, f) / diagonal;
      z[f] += step;
      largest_step = std::max(largest_step, std::abs(step));
    }
    if (largest_step < kSmallStep) return;
  }
}

float MahalanobisError(const v1::ScoreScale& scale, const Residuals& vector, std::span<float> feature_error) {
  std::array<double, kMaxMahalanobisFeatures> values;
  std::array<bool, kMaxMahalanobisFeatures> missing;
  const std::span<double> z(values.data(), vector.features);
  double count = 0;
  for (size_t f = 0; f < z.size(); ++f) {
    const std::optional<double> mean = MeanResidual(vector, f);
    missing[f] = !mean;
    z[f] = mean.value_or(0) / std::sqrt(scale.level_variance(static_cast<int>(f)));
    if (mean) count += 1;
  }
  if (count == 0) return kNaN;
  if (count < static_cast<double>(z.size())) FillMissing(scale, std::span(missing.data(), z.size()), z);
  double distance = 0, parts = 0;
  for (size_t f = 0; f < z.size(); ++f) {
    const double part = z[f] * PrecisionRow(scale, z, f);
    distance += part;
    parts += std::max(part, 0.0);
  }
  // Rounding can take the distance of what is normal to the last bit below 0.
  const double error = Hold(std::max(distance, 0.0) / count);
  if (feature_error.empty() || !(parts > 0)) return static_cast<float>(error);
  for (size_t f = 0; f < z.size(); ++f) {
    AddPart(std::max(z[f] * PrecisionRow(scale, z, f), 0.0) / parts * error, &feature_error[f]);
  }
  return static_cast<float>(error);
}

// The mean over all observed positions.
float ErrorByPosition(const v1::ScoreScale& scale, const Residuals& vector, std::span<float> feature_error) {
  const float* variance = scale.kind() == v1::FEATURE_NORMALISED ? scale.residual_variance().data() : nullptr;
  const bool by_loss = scale.kind() == v1::TRAINING_LOSS;
  const auto term = [&](size_t j) {
    if (by_loss) {
      return vector.observed[j] == 0 ? 0.0 : std::max(0.0, LossAt(scale.loss(), vector.output, j, vector.input[j]));
    }
    const double residual = vector.at(j);
    const double square = residual * residual;
    return vector.observed[j] == 0 ? 0.0 : (variance == nullptr ? square : square / variance[j]);
  };

  // Several sums at once: one alone would wait for each addition. Their order depends on the width only.
  constexpr size_t kLanes = 4;
  std::array<double, kLanes> sums = {};
  std::array<double, kLanes> counts = {};
  const size_t width = vector.input.size();
  size_t j = vector.begin;
  for (; j + kLanes <= width; j += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      sums[lane] += term(j + lane);
      counts[lane] += vector.observed[j + lane];
    }
  }
  for (; j < width; ++j) {
    sums[0] += term(j);
    counts[0] += vector.observed[j];
  }
  const double count = (counts[0] + counts[1]) + (counts[2] + counts[3]);
  if (count == 0) return kNaN;

  if (!feature_error.empty()) {
    for (size_t i = vector.begin; i < width; ++i) AddPart(term(i) / count, &feature_error[i % feature_error.size()]);
  }
  return static_cast<float>(Hold(((sums[0] + sums[1]) + (sums[2] + sums[3])) / count));
}

bool HasLevels(v1::ScoreKind kind) {
  return kind == v1::WINDOW_NORMALISED || kind == v1::WINDOW_SCALES || kind == v1::MAHALANOBIS;
}

bool HasVariances(v1::ScoreKind kind) {
  return kind == v1::FEATURE_NORMALISED || kind == v1::WORST_FEATURE || kind == v1::WINDOW_NORMALISED ||
         kind == v1::WINDOW_SCALES;
}

absl::Status CheckPrecision(const v1::ScoreScale& scale, size_t features) {
  const size_t expected = scale.kind() == v1::MAHALANOBIS ? features * (features + 1) / 2 : 0;
  RETURN_IF_ERROR(CheckNumbers("precision", scale.precision(), expected, /*positive=*/false));
  for (size_t f = 0; f < features && expected > 0; ++f) {
    const float diagonal = scale.precision(static_cast<int>(f * (f + 3) / 2));
    if (!(diagonal > 0)) {
      return absl::InvalidArgumentError(
          absl::StrCat("score: precision: expected numbers above 0 in its diagonal, got ", diagonal));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckScoreKind(absl::string_view field, v1::ScoreKind kind, size_t features) {
  if (!v1::ScoreKind_IsValid(kind) || kind == v1::SCORE_KIND_UNSPECIFIED) {
    return absl::InvalidArgumentError(
        absl::StrCat(field,
                     ": expected MEAN_SQUARED, FEATURE_NORMALISED, WORST_FEATURE, WINDOW_NORMALISED, WINDOW_SCALES, "
                     "MAHALANOBIS or TRAINING_LOSS, got ",
                     kind));
  }
  if (kind == v1::MAHALANOBIS && features > kMaxMahalanobisFeatures) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ": MAHALANOBIS: expected at most ", kMaxMahalanobisFeatures, " features, got ", features));
  }
  return absl::OkStatus();
}

absl::Status CheckScoreScale(const v1::ScoreScale& scale, size_t features, size_t width) {
  const v1::ScoreKind kind = scale.kind();
  RETURN_IF_ERROR(CheckScoreKind("score: kind", kind, features));
  // Artifacts of before have no `features`, and none of the kinds that need it.
  const bool needs_features =
      kind == v1::WORST_FEATURE || kind == v1::WINDOW_SCALES || kind == v1::MAHALANOBIS || scale.recent_rows() > 0;
  if (scale.features() != features && (needs_features || scale.features() != 0)) {
    return absl::InvalidArgumentError(absl::StrCat("score: features: expected ", features, ", got ", scale.features()));
  }
  if (scale.recent_rows() > width / features) {
    return absl::InvalidArgumentError(
        absl::StrCat("score: recent_rows: expected at most ", width / features, ", got ", scale.recent_rows()));
  }
  RETURN_IF_ERROR(
      CheckNumbers("residual_variance", scale.residual_variance(), HasVariances(kind) ? width : 0, /*positive=*/true));
  RETURN_IF_ERROR(
      CheckNumbers("level_variance", scale.level_variance(), HasLevels(kind) ? features : 0, /*positive=*/true));
  if (kind == v1::TRAINING_LOSS && (scale.loss() == v1::LOSS_UNSPECIFIED || !v1::Loss_IsValid(scale.loss()))) {
    return absl::InvalidArgumentError(absl::StrCat("score: loss: expected one for TRAINING_LOSS, got ", scale.loss()));
  }
  return CheckPrecision(scale, features);
}

float VectorError(const v1::ScoreScale& scale, std::span<const float> input, std::span<const float> output,
                  std::span<const float> observed, std::span<float> feature_error) {
  Residuals vector{.input = input, .output = output, .observed = observed};
  vector.features = HasLevels(scale.kind()) ? static_cast<size_t>(scale.level_variance_size()) : scale.features();
  if (scale.recent_rows() > 0) vector.begin = input.size() - scale.recent_rows() * vector.features;
  switch (scale.kind()) {
    case v1::MAHALANOBIS:
      return MahalanobisError(scale, vector, feature_error);
    case v1::WINDOW_NORMALISED:
    case v1::WINDOW_SCALES:
    case v1::WORST_FEATURE:
      return ErrorByFeature(scale, vector, feature_error);
    default:
      return ErrorByPosition(scale, vector, feature_error);
  }
}

}  // namespace astray
