// A dense layer of a network for serving: y = activation(W x + b), on the widest vectors that the machine has.
//
// A row has the same bits in every batch. Takes a copy of the weights. Where they all are bfloat16 numbers and too many
// for the first-level cache, processors with tile units (AMX) sum on these. Otherwise every output is one chain of
// multiply-adds, from the bias over the inputs in order, or, by the shape of the layer, the sum of two: of the even
// inputs, from the bias, and of the odd ones. That has the same bits on vectors of any width. Such weights are then
// kept a second time in half the size, for few rows: the same numbers, read in half the time. Immutable, so threads may
// share one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/nn/aligned_buffer.h"
#include "engine/nn/network.h"
#include "hwy/aligned_allocator.h"

namespace astray {

class DenseLayer {
 public:
  // Inputs that a tile of weights is for; layers of fewer stay on vectors.
  static constexpr size_t kTileInputs = 32;

  // Whether this process may use tile units: the processor and the kernel have them, and ONEDNN_MAX_CPU_ISA, which
  // limits oneDNN to older kinds of processors, does not forbid them.
  static bool HasTiles();

  // Layer `index` of `network`, which is dense. ZERO_INFLATED_COUNTS is left to the caller (Activate).
  DenseLayer(const Network& network, size_t index, bool may_use_tiles = HasTiles());
  // A linear one of no network, on vectors: weights [outputs x inputs], bias [outputs].
  DenseLayer(size_t inputs, std::span<const float> weights, std::span<const float> bias);

  // x [rows x inputs] and y [rows x outputs], in each the next row `stride` floats on; any alignment, not overlapping.
  // Allocates nothing.
  void Run(size_t rows, const float* x, size_t x_stride, float* y, size_t y_stride) const;

  // What the kernel of one kind of processor gets; lanes are floats of its vectors.
  struct Operands {
    size_t inputs, outputs;
    v1::Activation activation;
    // [outputs / lanes, rounded up x inputs x lanes]: what is read together lies together.
    // With two sums [outputs / lanes * 2, rounded up x inputs / 2, rounded up x lanes / 2 x 2].
    const float* weights;
    // [outputs / lanes, rounded up x inputs / 2, rounded up x lanes]: the weight of an even input, a bfloat16, in the
    // lower half, that of the next in the upper one. Null: `weights` are read.
    const uint32_t* weight_pairs;
    bool tiles;  // on tile units: of `weight_pairs`, [outputs / 16, rounded up x inputs / 32, rounded up x 16 x 16]
    bool two_sums;
    const float* bias;  // [outputs, rounded up to lanes]; with two sums each one followed by a 0
    size_t rows;
    const float* x;
    size_t x_stride;
    float* y;
    size_t y_stride;
  };

 private:
  // `weights`: of output j and input k at j * output_step + k * input_step.
  void Pack(const float* weights, size_t output_step, size_t input_step, const float* bias, bool may_use_tiles);
  void PackPairs(size_t lanes);

  size_t inputs_, outputs_;
  v1::Activation activation_;
  bool tiles_ = false, two_sums_ = false;
  void (*kernel_)(const Operands& operands) = nullptr;
  hwy::AlignedUniquePtr<uint32_t[]> weight_pairs_;
  size_t pair_rows_ = 0;          // up to so many they are read
  AlignedBuffer weights_, bias_;  // as in Operands; no weights where tiles are used
};

}  // namespace astray
