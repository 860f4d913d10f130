// How a residual becomes an error (recipe.proto, ScoreKind). With residuals r_j = output_j - input_j of a vector and O
// its observed positions,
//   MEAN_SQUARED        error = mean over j in O of r_j²
//   FEATURE_NORMALISED  error = mean over j in O of r_j² / v_j
//   TRAINING_LOSS       error = mean over j in O of the loss of output and input at j (nn/loss.h)
//   WINDOW_NORMALISED   error = mean over features f of max((mean over j in O_f of r_j)² / l_f,
//                                                           mean over j in O_f of r_j² / v_j)
// where O_f are the observed positions of feature f (a feature without any is left out), v_j is the mean of r_j² on
// held-out normal vectors, and l_f is there the mean of (mean over j in O_f of r_j)².
//
// No v is less than max(kVarianceFloor, kVarianceFloorRatio * mean of all v), and so for l: a column that is learned
// perfectly, a constant say, must not turn its rounding noise into the largest part of the error. Where held-out
// vectors never observed a position or feature, it gets the mean of all.
#pragma once

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/artifact.pb.h"
#include "astray/v1/recipe.pb.h"

namespace astray {

inline constexpr double kVarianceFloor = 1e-6;
inline constexpr double kVarianceFloorRatio = 1e-3;

// Fits what `kind` needs on held-out normal vectors: input, output, observed are [vectors x width], width is
// features x window. InvalidArgument for an unknown kind or sizes that do not agree, Internal for an output that is not
// finite.
absl::StatusOr<astray::v1::ScoreScale> FitScoreScale(astray::v1::ScoreKind kind, size_t features, size_t width,
                                                     std::span<const float> input, std::span<const float> output,
                                                     std::span<const float> observed);

// InvalidArgument where the scale does not fit `width` outputs on `features` features (untrusted).
absl::Status CheckScoreScale(const astray::v1::ScoreScale& scale, size_t features, size_t width);

// The error of one vector of `width` values, `output` being the network's whole output, of which the reconstruction is
// the first; NaN with nothing observed, and held below float's largest number.
// Unless feature_error [features] is empty, adds to it what each feature contributes, vector position j belonging to
// feature j % features: the parts add up to the error.
float VectorError(const astray::v1::ScoreScale& scale, std::span<const float> input, std::span<const float> output,
                  std::span<const float> observed, std::span<float> feature_error);

}  // namespace astray
