// How good a trained network is: against PCA, against itself untrained, and what to worry about.
#pragma once

#include "absl/status/statusor.h"
#include "astray/v1/recipe.pb.h"
#include "astray/v1/report.pb.h"
#include "engine/features/pipeline.h"
#include "engine/nn/network.h"
#include "engine/train/vector_set.h"

namespace astray {

// Reconstruction errors of `held_out` under one fixed draw of the recipe's corruption. PCA is fitted on `training` and
// takes the number of components that denoises `validation` best; its fields stay 0 for vectors wider than
// Pca::kMaxWidth.
absl::StatusOr<v1::Comparison> CompareReconstructions(const v1::Recipe& recipe, const Network& trained,
                                                      const Network& untrained, const VectorSet& training,
                                                      const VectorSet& validation, const VectorSet& held_out);

// Adds the warnings that comparison, losses, recipe and data profile call for.
void AddWarnings(const v1::Recipe& recipe, const Pipeline& pipeline, v1::TrainingReport* report);

}  // namespace astray
