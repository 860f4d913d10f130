// From a recipe's `network` to layers: presets, encoders that a decoder mirrors, and lists of layers.
#pragma once

#include <cstddef>

#include "absl/status/status.h"
#include "astray/v1/network.pb.h"
#include "astray/v1/recipe.pb.h"
#include "engine/nn/layer_shape.h"
#include "engine/train/vector_set.h"

namespace astray {

// How a vector's values lie: features.shape, or 1 x window x `features`.
TensorShape VectorShapeOf(const astray::v1::Recipe& recipe, size_t features);

// The same as corruptions see it: rows of values. An image's rows, else the steps of a window or sequence.
VectorShape TokensOf(const TensorShape& shape);
VectorShape TokensOf(const astray::v1::Recipe& recipe, const VectorSet& vectors);

// Sets every field of recipe->network(), which then has `encoder` or `layers`. `recipe` has scaling and loss.
// InvalidArgument names field or layer: "network: layer 'pool_1': size.width: expected a divisor of 5 (the input's
// width), got 2".
absl::Status FillNetwork(const TensorShape& shape, astray::v1::Recipe* recipe);

// The layers that a complete recipe asks for, on vectors of `width` values.
astray::v1::NetworkSpec BuildNetworkSpec(const astray::v1::Recipe& recipe, size_t width);

}  // namespace astray
