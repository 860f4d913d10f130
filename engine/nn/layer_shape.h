// What a layer's fields say of its sizes, checked before anything is allocated.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/network.pb.h"

namespace astray {

inline constexpr size_t kMaxLayers = 64;
inline constexpr size_t kMaxWidth = 1 << 16;               // values that enter or leave a layer
inline constexpr size_t kMaxValues = 1 << 20;              // that leave all layers together
inline constexpr size_t kMaxParameters = size_t{1} << 28;  // 1 GiB of float32

// Row-major, channels last; a plain vector of n is 1 x 1 x n.
struct TensorShape {
  size_t height = 1, width = 1, channels = 1;
  size_t size() const { return height * width * channels; }
  bool operator==(const TensorShape&) const = default;
};

struct LayerShape {
  TensorShape input, output;
  size_t weights = 0, biases = 0;  // numbers of its own: a tied layer has no weights, a pooling layer has neither
  size_t fan_in = 0, fan_out = 0;  // of one unit
  v1::Activation activation = v1::LINEAR;
  std::optional<size_t> tied_to;  // index of the layer that has the weights
};

// The shape of every layer. Fills in what `spec` leaves out (is 0): an input is the output of the layer before, or
// `input` for the first; kernels, strides and pool sizes are 1.
// InvalidArgument names the layer: "layer 'decoder_1': inputs: expected 16 (the outputs of 'code'), got 32".
absl::StatusOr<std::vector<LayerShape>> ResolveShapes(std::optional<TensorShape> input, v1::NetworkSpec* spec);

}  // namespace astray
