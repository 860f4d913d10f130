#include "engine/nn/dense_layer.h"

#include <algorithm>
#include <bit>
#include <new>

#include "engine/nn/activation.h"
#include "engine/nn/bfloat16.h"
#include "engine/nn/onednn.h"

// The kernel is compiled for each of Highway's targets, and the best one is chosen at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/nn/dense_layer.cc"
#include "hwy/foreach_target.h"  // must come before highway.h
// clang-format off
#include "hwy/highway.h"
#include "hwy/contrib/math/math-inl.h"
#include "engine/nn/blocks-inl.h"
#include "engine/nn/lanes-inl.h"
#include "engine/nn/tiles-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace astray {
namespace HWY_NAMESPACE {

// Sigmoid and tanh of whole rows, after the sums: the same vectors whatever the number of rows.
void ActivateRows(const DenseLayer::Operands& o) {
  for (size_t r = 0; r < o.rows; ++r) {
    float* y = o.y + r * o.y_stride;
    for (size_t j = 0; j < o.outputs; j += kLanes) {
      const size_t count = std::min(kLanes, o.outputs - j);
      const Vector z = LoadFirst(kFloats, y + j, count);
      const Vector one = hn::Set(kFloats, 1.0f);
      const Vector value =
          o.activation == v1::TANH ? hn::Tanh(kFloats, z) : hn::Div(one, hn::Add(one, hn::Exp(kFloats, hn::Neg(z))));
      StoreFirst(kFloats, value, count, y + j);
    }
  }
}

// `whole` in as few parts of at most `most` as can be, as equal as can be.
struct Parts {
  Parts(size_t whole, size_t most) {
    if (whole > most) {  // a division takes as long as a step of a small layer
      count = (whole + most - 1) / most;
      larger = whole % count;
    }
    size = count == 1 ? whole : whole / count;
  }
  size_t operator[](size_t i) const { return size + (i < larger); }
  size_t count = 1, size, larger = 0;
};

template <size_t S, typename Weights>
void RunWith(const Weights* weights, const DenseLayer::Operands& o) {
  constexpr size_t kOutputs = kLanes / S;  // of a vector of weights
  const size_t vectors = (o.outputs + kOutputs - 1) / kOutputs;
  // Three or four vectors are better taken at once by fewer rows than in two parts. So are more where the first-level
  // cache holds all weights, which fewer rows then read more often.
  const size_t at_once = S == 2 ? std::min<size_t>({vectors, 5, kAccumulators}) : vectors <= 4 ? vectors : 0;
  const Parts groups(o.rows, at_once < 3 ? kMaxRows : kAccumulators / at_once);
  const Parts widths(vectors, kVectors[groups[0] - 1]);
  const size_t pass = S == 2 || groups.count == 1 ? o.inputs : kPassInputs;
  constexpr size_t kIn = S * kInputsIn<Weights>;
  const size_t elements = (o.inputs + kIn - 1) / kIn;  // of an output
  Block<Weights> block = {.x_stride = o.x_stride, .weights_stride = elements * kLanes, .y_stride = o.y_stride};
  for (size_t i = 0, output = 0, vector = 0; i < widths.count;
       output += widths[i] * kOutputs, vector += widths[i], ++i) {
    block.last_count = std::min(o.outputs - output, widths[i] * kOutputs) - (widths[i] - 1) / S * kLanes;
    for (size_t k = 0; k < o.inputs; k += pass) {
      block.inputs = std::min(pass, o.inputs - k);
      block.weights = weights + (vector * elements + k / kIn) * kLanes;
      block.bias = k == 0 ? o.bias + vector * kLanes : nullptr;
      block.activation = k + block.inputs == o.inputs ? o.activation : v1::LINEAR;
      const auto run = [&](size_t count, size_t rows, size_t row) ASTRAY_INLINE_LAMBDA {
        block.groups = count;
        block.x = o.x + row * o.x_stride + k;
        block.y = o.y + row * o.y_stride + output;
        kBlocks<Weights, S>[rows - 1][widths[i] - 1](block);
      };
      const size_t first = groups.larger * (groups.size + 1);
      if (groups.larger > 0) run(groups.larger, groups.size + 1, 0);
      run(groups.count - groups.larger, groups.size, first);
    }
  }
}

void RunDense(const DenseLayer::Operands& o) {
  if (o.tiles) {
    RunTiles(o);
#if HWY_TARGET != HWY_SCALAR
  } else if (o.two_sums) {
    RunWith<2>(o.weights, o);
#endif
  } else if (o.weight_pairs != nullptr) {
    RunWith<1>(o.weight_pairs, o);
  } else {
    RunWith<1>(o.weights, o);
  }
  if (o.activation == v1::TANH || o.activation == v1::SIGMOID) ActivateRows(o);
}

size_t Lanes() { return kLanes; }

}  // namespace HWY_NAMESPACE
}  // namespace astray
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace astray {
namespace {

// Half the bytes take half the time to read, but each vector of weights an instruction more. Weights beyond the
// first-level cache are read as pairs for a single row, those that do not fit the second-level cache beside others for
// as many rows as the arithmetic does not hide the reading (docs/decisions/0019).
constexpr size_t kFirstLevelFloats = size_t{1} << 13, kSecondLevelFloats = size_t{1} << 18;
constexpr size_t kMaxPairRows = 16;

// Outputs of two sums need half as many vectors of inputs, and twice as many of weights, which serve half as many
// outputs each. That pays where the last vector of 16 outputs would be half empty or the only one
// (docs/decisions/0013). It is asked of the shape alone, so that a row has the same bits on vectors of any width.
bool HasTwoSums(size_t inputs, size_t outputs) {
  const size_t eights = (outputs + 7) / 8;
  return eights * 8 * inputs <= kFirstLevelFloats && (eights % 2 == 1 || eights == 2);
}

}  // namespace

HWY_EXPORT(RunDense);
HWY_EXPORT(Lanes);
HWY_EXPORT(HasTileCode);

bool DenseLayer::HasTiles() {
  static const bool has_tiles = onednn::MayUseTiles();
  return has_tiles && HWY_DYNAMIC_DISPATCH(HasTileCode)();
}

DenseLayer::DenseLayer(const Network& network, size_t index, bool may_use_tiles)
    : inputs_(network.shape(index).input.size()),
      outputs_(network.shape(index).output.size()),
      activation_(network.shape(index).activation) {
  const bool tied = network.shape(index).tied_to.has_value();  // then [inputs x outputs]
  const float* const parameters = network.parameters().data();
  Pack(parameters + network.offsets(index).weights, tied ? 1 : inputs_, tied ? outputs_ : 1,
       parameters + network.offsets(index).bias, may_use_tiles);
}

DenseLayer::DenseLayer(size_t inputs, std::span<const float> weights, std::span<const float> bias)
    : inputs_(inputs), outputs_(bias.size()), activation_(v1::LINEAR) {
  Pack(weights.data(), inputs, 1, bias.data(), /*may_use_tiles=*/false);
}

void DenseLayer::Pack(const float* weights, size_t output_step, size_t input_step, const float* bias,
                      bool may_use_tiles) {
  const size_t lanes = HWY_DYNAMIC_DISPATCH(Lanes)();
  kernel_ = &HWY_DYNAMIC_DISPATCH(RunDense);  // the target is chosen by the line above
  two_sums_ = lanes > 1 && HasTwoSums(inputs_, outputs_);
  const size_t sums = two_sums_ ? 2 : 1, outputs = lanes / sums;  // of a vector
  const size_t vectors = (outputs_ + outputs - 1) / outputs, steps = (inputs_ + sums - 1) / sums;
  weights_ = AlignedBuffer(vectors * steps * lanes);
  bias_ = AlignedBuffer(vectors * lanes);
  for (size_t j = 0; j < outputs_; ++j) {
    const size_t vector = j / outputs, lane = j % outputs * sums;
    bias_.data()[vector * lanes + lane] = bias[j];
    for (size_t k = 0; k < inputs_; ++k) {
      weights_.data()[(vector * steps + k / sums) * lanes + lane + k % sums] =
          weights[j * output_step + k * input_step];
    }
  }
  if (!two_sums_ && weights_.size() > kFirstLevelFloats && std::ranges::all_of(weights_.span(), IsBfloat16)) {
    tiles_ = may_use_tiles && inputs_ >= kTileInputs;
    PackPairs(lanes);
    if (tiles_) weights_ = AlignedBuffer();
  }
}

void DenseLayer::PackPairs(size_t lanes) {
  pair_rows_ = tiles_ ? SIZE_MAX : weights_.size() > kSecondLevelFloats ? kMaxPairRows : 1;
  const size_t height = tiles_ ? (inputs_ + kTileInputs - 1) / kTileInputs * (kTileInputs / 2) : (inputs_ + 1) / 2;
  weight_pairs_ = hwy::MakeUniqueAlignedArray<uint32_t>(weights_.size() / inputs_ * height);
  if (weight_pairs_ == nullptr) throw std::bad_alloc();
  const float* from = weights_.data();
  for (uint32_t* pairs = weight_pairs_.get(); from != weights_.data() + weights_.size(); pairs += height * lanes) {
    for (size_t k = 0; k < inputs_; ++k) {
      for (size_t lane = 0; lane < lanes; ++lane, ++from) {
        const uint32_t bits = std::bit_cast<uint32_t>(*from);
        pairs[k / 2 * lanes + lane] |= k % 2 == 0 ? bits >> 16 : bits;
      }
    }
  }
}

void DenseLayer::Run(size_t rows, const float* x, size_t x_stride, float* y, size_t y_stride) const {
  if (rows == 0) return;
  kernel_({.inputs = inputs_,
           .outputs = outputs_,
           .activation = activation_,
           .weights = weights_.data(),
           .weight_pairs = rows <= pair_rows_ ? weight_pairs_.get() : nullptr,
           .tiles = tiles_,
           .two_sums = two_sums_,
           .bias = bias_.data(),
           .rows = rows,
           .x = x,
           .x_stride = x_stride,
           .y = y,
           .y_stride = y_stride});
}

}  // namespace astray
#endif  // HWY_ONCE
