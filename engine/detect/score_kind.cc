#include "engine/detect/score_kind.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

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

}  // namespace astray
