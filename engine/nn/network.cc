#include "engine/nn/network.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/nn/bfloat16.h"

namespace astray {
namespace {

size_t AlignUp(size_t floats) {
  constexpr size_t kStep = AlignedBuffer::kAlignment / sizeof(float);
  return (floats + kStep - 1) / kStep * kStep;
}

}  // namespace

absl::StatusOr<Network> Network::Create(v1::NetworkSpec spec) {
  Network network;
  ASSIGN_OR_RETURN(network.shapes_, ResolveShapes(std::nullopt, &spec));
  size_t size = 0;
  for (const LayerShape& shape : network.shapes_) {
    Offsets offsets = {.weights = size, .bias = AlignUp(size + shape.weights)};
    size = AlignUp(offsets.bias + shape.biases);
    if (shape.tied_to) offsets.weights = network.offsets_[*shape.tied_to].weights;
    network.offsets_.push_back(offsets);
  }
  network.spec_ = std::move(spec);
  network.parameters_ = AlignedBuffer(size);
  return network;
}

void Network::Initialise(Random& random) {
  for (size_t i = 0; i < layers(); ++i) {
    const LayerShape& shape = shapes_[i];
    const double fan_in = static_cast<double>(shape.fan_in), fan_out = static_cast<double>(shape.fan_out);
    const bool rectified = shape.activation == v1::RELU || shape.activation == v1::LEAKY_RELU;
    const double limit = rectified ? std::sqrt(6.0 / fan_in) : std::sqrt(6.0 / (fan_in + fan_out));
    const auto weights = parameters_.span().subspan(offsets_[i].weights, shape.weights);
    // Two weights of 24 bits a word.
    uint64_t word = 0;
    for (size_t k = 0; k < weights.size(); ++k) {
      word = k % 2 == 0 ? random.NextUint64() : word >> 32;
      const double u = static_cast<double>((word & 0xffffffff) >> 8) * 0x1p-24;
      weights[k] = static_cast<float>((2.0 * u - 1.0) * limit);
    }
    std::ranges::fill(parameters_.span().subspan(offsets_[i].bias, shape.biases), 0.0f);
  }
}

absl::Status Network::SetParameters(std::span<const float> parameters) {
  if (parameters.size() != parameters_.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("parameters: expected ", parameters_.size(), " numbers, got ", parameters.size()));
  }
  for (size_t i = 0; i < layers(); ++i) {
    for (const auto& [what, begin, count] : {std::tuple{"weights", offsets_[i].weights, shapes_[i].weights},
                                             std::tuple{"bias", offsets_[i].bias, shapes_[i].biases}}) {
      for (size_t k = 0; k < count; ++k) {
        if (!std::isfinite(parameters[begin + k])) {
          return absl::InvalidArgumentError(absl::StrCat("layer '", spec_.layers(static_cast<int>(i)).name(),
                                                         "': ", what, "[", k, "]: expected a finite number, got ",
                                                         parameters[begin + k]));
        }
      }
    }
  }
  std::ranges::copy(parameters, parameters_.data());
  return absl::OkStatus();
}

void Network::RoundDenseWeights() {
  for (size_t i = 0; i < layers(); ++i) {
    if (!spec_.layers(static_cast<int>(i)).has_dense()) continue;
    for (float& weight : parameters_.span().subspan(offsets_[i].weights, shapes_[i].weights)) {
      const float rounded = RoundToBfloat16(weight);
      if (std::isfinite(rounded)) weight = rounded;
    }
  }
}

size_t Network::reconstruction_size() const {
  return shapes_.back().activation == v1::ZERO_INFLATED_COUNTS ? output_size() / 3 : output_size();
}

size_t Network::parameter_count() const {
  size_t count = 0;
  for (const LayerShape& shape : shapes_) count += shape.weights + shape.biases;
  return count;
}

Network Network::Clone() const {
  Network copy;
  copy.spec_ = spec_;
  copy.shapes_ = shapes_;
  copy.offsets_ = offsets_;
  copy.parameters_ = AlignedBuffer(parameters_.size());
  std::ranges::copy(parameters_.span(), copy.parameters_.data());
  return copy;
}

}  // namespace astray
