// A feed-forward network: its layers and its parameters. It computes nothing itself:
// Executor runs it forward, Gradient runs it forward and backward.
//
// Parameters lie in one buffer, layer after layer, weights [outputs x inputs] row-major before biases [outputs],
// each tensor beginning on a 64-byte boundary (gaps are zero). That buffer is weights.bin byte for byte.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/network.pb.h"
#include "engine/base/random.h"
#include "engine/nn/aligned_buffer.h"

namespace astray {

inline constexpr float kLeakyReluSlope = 0.01f;  // of LEAKY_RELU below 0 (Maas, Hannun & Ng 2013)

class Network {
 public:
  // Where a dense layer's tensors begin in parameters(), counted in floats.
  struct DenseOffsets {
    size_t weights;
    size_t bias;
  };

  static constexpr size_t kMaxLayers = 64;
  static constexpr size_t kMaxWidth = 1 << 16;
  static constexpr size_t kMaxParameters = size_t{1} << 28;  // 1 GiB of float32

  // Checks the spec (sizes chain, names unique, limits above) before allocating; parameters are zero.
  // InvalidArgument names the layer: "layer 'decoder_1': inputs: expected 16 (the outputs of 'code'), got 32".
  static absl::StatusOr<Network> Create(astray::v1::NetworkSpec spec);

  // Glorot & Bengio 2010 uniform for tanh, sigmoid and linear layers, He et al. 2015 uniform for relu; biases zero.
  void Initialise(Random& random);

  // Copies `parameters` in; InvalidArgument on a wrong size or a non-finite number (names layer and index).
  absl::Status SetParameters(std::span<const float> parameters);

  const astray::v1::NetworkSpec& spec() const { return spec_; }
  size_t input_size() const;
  size_t output_size() const;
  size_t code_size() const;        // outputs of layer spec().code_layer()
  size_t parameter_count() const;  // weights and biases, gaps left out
  const DenseOffsets& offsets(size_t layer) const { return offsets_[layer]; }
  std::span<float> parameters() { return parameters_.span(); }
  std::span<const float> parameters() const { return parameters_.span(); }
  Network Clone() const;

 private:
  Network() = default;
  astray::v1::NetworkSpec spec_;
  std::vector<DenseOffsets> offsets_;
  AlignedBuffer parameters_;
};

}  // namespace astray
