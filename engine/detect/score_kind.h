// How a residual becomes an error (recipe.proto, ScoreKind). All formulas take the mean over observed values only.
#pragma once

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/artifact.pb.h"
#include "astray/v1/recipe.pb.h"

namespace astray {

// Fits what `kind` needs on held-out normal vectors: input, output, observed are [vectors x width].
absl::StatusOr<astray::v1::ScoreScale> FitScoreScale(astray::v1::ScoreKind kind, size_t width,
                                                     std::span<const float> input, std::span<const float> output,
                                                     std::span<const float> observed);

// InvalidArgument where the scale does not fit a network of `width` outputs (untrusted).
absl::Status CheckScoreScale(const astray::v1::ScoreScale& scale, size_t width);

// The error of one vector; adds each feature's part to feature_error [features], vector position j belonging to
// feature j % features. With nothing observed the error is NaN.
float VectorError(const astray::v1::ScoreScale& scale, std::span<const float> input, std::span<const float> output,
                  std::span<const float> observed, std::span<float> feature_error);

}  // namespace astray
