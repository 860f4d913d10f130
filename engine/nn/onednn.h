// The only file pair that speaks oneDNN: windowed layers forward for serving, all kinds forward and backward for
// training.
// oneDNN 2 and 3 differ in how primitives are described; that difference stays in onednn.cc.
//
// Every primitive uses a scratchpad of its own object (scratchpad_mode::user): a primitive may then run on another
// thread than the one that made it. Not thread-safe: one object for one thread at a time. Dropout is no layer of these.
#pragma once

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "engine/nn/network.h"

namespace astray::onednn {

// oneDNN is built on OpenMP, whose threads under request threads ruin throughput: keeps this thread's calls on it.
void UseCallingThreadOnly();

// Whether oneDNN would use the processor's tile units (AMX): they are there, the operating system lets this process
// have them, which is asked for here, and ONEDNN_MAX_CPU_ISA does not forbid it.
bool MayUseTiles();

// A convolution, transposed convolution or pooling for a fixed number of rows, with the weights packed once into the
// layout that the kernel likes best. Dense layers are DenseLayer.
class PackedLayer {
 public:
  // Layer `index` of `network`; its parameters are copied.
  static absl::StatusOr<std::unique_ptr<PackedLayer>> Create(const Network& network, size_t index, size_t rows);
  ~PackedLayer();
  absl::Status Run(const float* x, float* y);  // [rows x inputs], [rows x outputs]; 64-byte aligned

 private:
  struct Impl;
  explicit PackedLayer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A row-major matrix whose rows begin `stride` apart, or its transpose.
struct Operand {
  const float* data;
  size_t stride;
  bool transposed = false;
};

// c = a b, or c += a b, in the calling thread: a is [m x k], b [k x n], c [m x n] with rows `c_stride` apart. The bits
// are a function of the arguments' sizes and values.
absl::Status Multiply(size_t m, size_t n, size_t k, const Operand& a, const Operand& b, float* c, size_t c_stride,
                      bool add = false);

// A PackedLayer without activation, on weights that change at every step, with its gradients; a dense layer is three
// calls of Multiply instead. Backward calls belong to the last Forward.
class TrainableLayer {
 public:
  static absl::StatusOr<std::unique_ptr<TrainableLayer>> Create(const Network& network, size_t index, size_t rows);
  ~TrainableLayer();
  // Layers without parameters ignore weights and bias.
  absl::Status Forward(const float* x, const float* weights, const float* bias, float* y);
  // d x, from d y
  absl::Status BackwardData(const float* dy, const float* weights, float* dx);
  // d W and d b, summed over the rows; not for layers without parameters
  absl::Status BackwardWeights(const float* dy, const float* x, float* dweights, float* dbias);

 private:
  struct Impl;
  explicit TrainableLayer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace astray::onednn
