// Runs a network forward: dense layers by DenseLayer, convolutions and pooling on oneDNN.
//
// Forward cuts any number of rows into tiles. A row's output does not depend on the rows beside it or on how many there
// are (bit for bit): verdicts must not change with batching.
//
// A network of dense layers needs no more than packed weights, which its executors share, and buffers that grow to the
// largest tile that came: the first call of that many rows allocates them, later ones nothing. For windowed layers
// everything is made at creation, for tiles of fixed row counts.
//
// Takes a copy of the weights as they are at creation. Not thread-safe: one Executor for each thread at a time
// (ExecutorPool hands them out). Everything runs on the calling thread only.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/nn/dense_layer.h"
#include "engine/nn/network.h"

namespace astray {

// One for each layer of a network, empty where that is not dense. Immutable: executors on any threads share them.
using PackedDenseLayers = std::vector<std::optional<DenseLayer>>;
std::shared_ptr<const PackedDenseLayers> PackDenseLayers(const Network& network);

class Executor {
 public:
  static absl::StatusOr<std::unique_ptr<Executor>> Create(const Network& network) {
    return Create(network, PackDenseLayers(network));
  }
  static absl::StatusOr<std::unique_ptr<Executor>> Create(const Network& network,
                                                          std::shared_ptr<const PackedDenseLayers> dense_layers);
  ~Executor();

  // input [rows x input_size], output [rows x output_size]; row-major, any alignment, not overlapping.
  absl::Status Forward(size_t rows, std::span<const float> input, std::span<float> output);

  // As Forward, but of each row's output only the reconstruction, [rows x reconstruction_size].
  absl::Status Reconstruct(size_t rows, std::span<const float> input, std::span<float> reconstruction);

  // As Forward; also gives the code [rows x code_size].
  absl::Status Forward(size_t rows, std::span<const float> input, std::span<float> output, std::span<float> code);

 private:
  absl::Status Run(size_t rows, std::span<const float> input, size_t kept_outputs, std::span<float> output,
                   std::span<float> code);
  struct Impl;
  explicit Executor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace astray
