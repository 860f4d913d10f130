// What a way to score needs to know of normal residuals (score_kind.h has the formulas).
//
// No variance is less than max(kVarianceFloor, kVarianceFloorRatio * mean of all of its kind): a column that is learned
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
// Of the correlation of residuals, at least: windows overlap, so that they say less than their number.
inline constexpr double kLeastShrinkage = 0.1;

// Vectors and what a network made of them, [vectors x width] each; width is features x window.
struct Rebuilt {
  std::span<const float> input, output, observed;
};

// Fits what `recipe`, which has a kind, needs on held-out normal vectors. Training vectors may be none. A variance is
// theirs where that is more: a network rebuilds best what it was trained on, so that less on a few held-out vectors is
// chance. What residuals and readings have to do with each other (MAHALANOBIS, T²) is learned from both, too. T² stays
// out where there is nothing to compare it with: TRAINING_LOSS, or held-out vectors without any error. InvalidArgument
// for an unknown kind or sizes that do not agree, Internal for an output that is not finite.
absl::StatusOr<astray::v1::ScoreScale> FitScoreScale(const astray::v1::ScoreRecipe& recipe, size_t features,
                                                     size_t width, const Rebuilt& held_out,
                                                     const Rebuilt& training = {});

// The smallest of the values, at least one, that is not exceeded by more than so large a share of them.
double UpperQuantile(std::vector<double> values, double share);

}  // namespace astray
