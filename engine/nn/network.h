// A feed-forward network: its layers and its parameters. It computes nothing itself:
// Executor runs it forward, Gradient runs it forward and backward.
//
// Parameters lie in one buffer, layer after layer, weights (in network.proto's order) before biases, each tensor
// beginning on a 64-byte boundary (gaps are zero). That buffer is weights.bin byte for byte.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/network.pb.h"
#include "engine/base/random.h"
#include "engine/nn/aligned_buffer.h"
#include "engine/nn/layer_shape.h"

namespace astray {

class Network {
 public:
  // Where a layer's tensors begin in parameters(), counted in floats. The weights of a tied layer are where its owner
  // has them.
  struct Offsets {
    size_t weights = 0;
    size_t bias = 0;
  };

  // Checks the spec before allocating, as ResolveShapes does; parameters are zero.
  static absl::StatusOr<Network> Create(astray::v1::NetworkSpec spec);

  // Glorot & Bengio 2010 uniform for tanh, sigmoid and linear layers, He et al. 2015 uniform for relu; biases zero.
  void Initialise(Random& random);

  // Copies `parameters` in; InvalidArgument on a wrong size or a non-finite number (names layer and index).
  absl::Status SetParameters(std::span<const float> parameters);

  // Makes the weights of dense layers bfloat16 numbers, each the nearest: DenseLayer reads those in half the time. One
  // beyond the largest such number stays as it is.
  void RoundDenseWeights();

  const astray::v1::NetworkSpec& spec() const { return spec_; }
  size_t input_size() const { return shapes_.front().input.size(); }
  size_t output_size() const { return shapes_.back().output.size(); }
  // Values of the reconstruction, the first of a row's outputs: all of them, or a third for ZERO_INFLATED_COUNTS.
  size_t reconstruction_size() const;
  size_t code_size() const { return shapes_[spec_.code_layer()].output.size(); }
  size_t parameter_count() const;  // weights and biases, gaps left out
  size_t layers() const { return shapes_.size(); }
  const LayerShape& shape(size_t layer) const { return shapes_[layer]; }
  const Offsets& offsets(size_t layer) const { return offsets_[layer]; }
  std::span<float> parameters() { return parameters_.span(); }
  std::span<const float> parameters() const { return parameters_.span(); }
  Network Clone() const;

 private:
  Network() = default;
  astray::v1::NetworkSpec spec_;
  std::vector<LayerShape> shapes_;
  std::vector<Offsets> offsets_;
  AlignedBuffer parameters_;
};

}  // namespace astray
