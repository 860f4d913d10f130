// Runs a network forward on oneDNN.
//
// Makes its primitives, packed weights and buffers once, for tiles of fixed row counts; Forward cuts any number of
// rows into tiles and allocates nothing. A row's output does not depend on the rows beside it or on how many there
// are (bit for bit): verdicts must not change with batching.
//
// Takes a copy of the weights as they are at creation. Not thread-safe: one Executor for each thread at a time
// (ExecutorPool hands them out). oneDNN runs on the calling thread only.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "engine/nn/network.h"

namespace astray {

class Executor {
 public:
  static absl::StatusOr<std::unique_ptr<Executor>> Create(const Network& network);
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
