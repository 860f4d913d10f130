// The only file pair that speaks oneDNN: dense layers forward for serving, forward and backward for training.
// oneDNN 2 and 3 differ in how primitives are described; that difference stays in onednn.cc.
//
// Every primitive uses a scratchpad of its own object (scratchpad_mode::user): a primitive may then run on another
// thread than the one that made it. Not thread-safe: one object for one thread at a time.
#pragma once

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "astray/v1/network.pb.h"
#include "engine/nn/network.h"

namespace astray::onednn {

struct DenseShape {
  size_t rows = 0;
  size_t inputs = 0;
  size_t outputs = 0;
};

// oneDNN is built on OpenMP, whose threads under request threads ruin throughput: keeps this thread's calls on it.
void UseCallingThreadOnly();

// y = f(x W^T + b) with the weights packed once into the layout that the kernel likes best.
class PackedDense {
 public:
  // weights [outputs x inputs], bias [outputs]: copied.
  static absl::StatusOr<std::unique_ptr<PackedDense>> Create(DenseShape shape, v1::Activation activation,
                                                             const float* weights, const float* bias);
  ~PackedDense();
  absl::Status Run(const float* x, float* y);  // [rows x inputs], [rows x outputs]; 64-byte aligned

 private:
  struct Impl;
  explicit PackedDense(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The same layer without activation, on weights that change at every step, with its gradients.
class TrainableDense {
 public:
  static absl::StatusOr<std::unique_ptr<TrainableDense>> Create(DenseShape shape);
  ~TrainableDense();
  absl::Status Forward(const float* x, const float* weights, const float* bias, float* y);
  // d x = d y W
  absl::Status BackwardData(const float* dy, const float* weights, float* dx);
  // d W = d y^T x, d b = sum over rows of d y
  absl::Status BackwardWeights(const float* dy, const float* x, float* dweights, float* dbias);

 private:
  struct Impl;
  explicit TrainableDense(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace astray::onednn
