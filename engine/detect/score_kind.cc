#include "engine/detect/score_kind.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/status_macros.h"
#include "engine/detect/check_numbers.h"
#include "engine/detect/mahalanobis.h"
#include "engine/detect/nearest_prototype.h"

namespace astray {
namespace {

bool HasLevels(v1::ScoreKind kind) {
  return kind == v1::WINDOW_NORMALISED || kind == v1::WINDOW_SCALES || kind == v1::MAHALANOBIS;
}

bool HasVariances(v1::ScoreKind kind) {
  return kind == v1::FEATURE_NORMALISED || kind == v1::WORST_FEATURE || kind == v1::WINDOW_NORMALISED ||
         kind == v1::WINDOW_SCALES;
}

// The lower triangle of a matrix [size x size].
absl::Status CheckPrecision(absl::string_view field, const google::protobuf::RepeatedField<float>& precision,
                            size_t size) {
  RETURN_IF_ERROR(CheckNumbers(field, precision, size * (size + 1) / 2, /*positive=*/false));
  for (size_t f = 0; f < size; ++f) {
    const float diagonal = precision.Get(static_cast<int>(f * (f + 3) / 2));
    if (!(diagonal > 0)) {
      return absl::InvalidArgumentError(
          absl::StrCat(field, ": expected numbers above 0 in its diagonal, got ", diagonal));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckTSquared(const v1::TSquaredScale& scale, size_t features, size_t window) {
  RETURN_IF_ERROR(CheckTSquaredRows("score: t_squared: rows", scale.rows(), features, window));
  if (scale.rows() == 0) return absl::InvalidArgumentError("score: t_squared: rows: expected at least 1, got 0");
  RETURN_IF_ERROR(CheckNumbers("score: t_squared: mean", scale.mean(), features, /*positive=*/false));
  RETURN_IF_ERROR(CheckNumbers("score: t_squared: deviation", scale.deviation(), features, /*positive=*/true));
  RETURN_IF_ERROR(CheckPrecision("score: t_squared: precision", scale.precision(), features));
  if (!std::isfinite(scale.limit()) || scale.limit() < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("score: t_squared: limit: expected a finite number from 0, got ", scale.limit()));
  }
  if (std::isfinite(scale.factor()) && scale.factor() > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("score: t_squared: factor: expected a finite number above 0, got ", scale.factor()));
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

absl::Status CheckTSquaredRows(absl::string_view field, size_t rows, size_t features, size_t window) {
  if (rows > window) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ": expected at most the window of ", window, " rows, got ", rows));
  }
  if (rows > 0 && features > kMaxMahalanobisFeatures) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ": expected at most ", kMaxMahalanobisFeatures, " features, got ", features));
  }
  return absl::OkStatus();
}

absl::Status CheckScoreScale(const v1::ScoreScale& scale, size_t features, size_t width) {
  const v1::ScoreKind kind = scale.kind();
  RETURN_IF_ERROR(CheckScoreKind("score: kind", kind, features));
  // Artifacts of before have no `features`, and none of the kinds that need it.
  const bool needs_features = kind == v1::WORST_FEATURE || kind == v1::WINDOW_SCALES || kind == v1::MAHALANOBIS ||
                              scale.recent_rows() > 0 || scale.has_t_squared() || scale.has_prototypes();
  if (scale.features() != features && (needs_features || scale.features() != 0)) {
    return absl::InvalidArgumentError(absl::StrCat("score: features: expected ", features, ", got ", scale.features()));
  }
  if (scale.recent_rows() > width / features) {
    return absl::InvalidArgumentError(
        absl::StrCat("score: recent_rows: expected at most ", width / features, ", got ", scale.recent_rows()));
  }
  RETURN_IF_ERROR(CheckNumbers("score: residual_variance", scale.residual_variance(), HasVariances(kind) ? width : 0,
                               /*positive=*/true));
  RETURN_IF_ERROR(
      CheckNumbers("score: level_variance", scale.level_variance(), HasLevels(kind) ? features : 0, /*positive=*/true));
  if (kind == v1::TRAINING_LOSS && (scale.loss() == v1::LOSS_UNSPECIFIED || !v1::Loss_IsValid(scale.loss()))) {
    return absl::InvalidArgumentError(absl::StrCat("score: loss: expected one for TRAINING_LOSS, got ", scale.loss()));
  }
  RETURN_IF_ERROR(CheckPrecision("score: precision", scale.precision(), kind == v1::MAHALANOBIS ? features : 0));
  if (scale.has_prototypes()) {
    if (width != features || scale.has_t_squared()) {
      return absl::InvalidArgumentError("score: prototypes: expected none for windows, nor beside t_squared");
    }
    return CheckPrototypes(scale.prototypes(), features);
  }
  return scale.has_t_squared() ? CheckTSquared(scale.t_squared(), features, width / features) : absl::OkStatus();
}

}  // namespace astray
