// A dense layer of a network for serving: y = activation(W x + b), on the widest vectors that the machine has.
//
// Every output is one chain of multiply-adds, from the bias over the inputs in order, whatever the number of rows: a
// row has the same bits in every batch. Takes a copy of the weights. Immutable, so threads may share one.
#pragma once

#include <cstddef>

#include "engine/nn/aligned_buffer.h"
#include "engine/nn/network.h"

namespace astray {

class DenseLayer {
 public:
  // Layer `index` of `network`, which is dense. ZERO_INFLATED_COUNTS is left to the caller (Activate).
  DenseLayer(const Network& network, size_t index);

  // x [rows x inputs] and y [rows x outputs], in each the next row `stride` floats on; any alignment, not overlapping.
  // Allocates nothing.
  void Run(size_t rows, const float* x, size_t x_stride, float* y, size_t y_stride) const;

  // What the kernel of one kind of processor gets; lanes are floats of its vectors.
  struct Operands {
    size_t inputs, outputs;
    v1::Activation activation;
    const float* weights;  // [outputs / lanes, rounded up x inputs x lanes]: what is read together lies together
    const float* bias;     // [outputs, rounded up to lanes]
    size_t rows;
    const float* x;
    size_t x_stride;
    float* y;
    size_t y_stride;
  };

 private:
  size_t inputs_, outputs_;
  v1::Activation activation_;
  void (*kernel_)(const Operands& operands);
  AlignedBuffer weights_, bias_;  // as in Operands
};

}  // namespace astray
