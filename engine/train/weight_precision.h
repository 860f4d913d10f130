// The numbers that a trained network's weights are kept as.
#pragma once

#include "absl/status/status.h"
#include "astray/v1/recipe.pb.h"
#include "engine/nn/network.h"
#include "engine/train/vector_set.h"

namespace astray {

// Rounds the weights of dense layers to bfloat16 where `recipe` (complete but for what training chooses) says so. Where
// it says nothing, they are rounded unless that moves reconstructions of `held_out` vectors by more than a hundredth of
// what they leave, as mean squares, in any one of a vector's values; what was done is filled in.
absl::Status SetWeightPrecision(const VectorSet& held_out, Network* network, astray::v1::Recipe* recipe);

}  // namespace astray
