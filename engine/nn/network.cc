#include "engine/nn/network.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace astray {
namespace {

size_t AlignUp(size_t floats) {
  constexpr size_t kStep = AlignedBuffer::kAlignment / sizeof(float);
  return (floats + kStep - 1) / kStep * kStep;
}

}  // namespace

absl::StatusOr<Network> Network::Create(v1::NetworkSpec spec) {
  if (spec.layers().empty() || spec.layers_size() > static_cast<int>(kMaxLayers)) {
    return absl::InvalidArgumentError(
        absl::StrCat("layers: expected 1 to ", kMaxLayers, " layers, got ", spec.layers_size()));
  }
  if (spec.code_layer() >= static_cast<uint32_t>(spec.layers_size())) {
    return absl::InvalidArgumentError(absl::StrCat("code_layer: expected an index below ", spec.layers_size(),
                                                   " (the number of layers), got ", spec.code_layer()));
  }
  Network network;
  std::set<std::string> names;
  size_t size = 0;
  for (int i = 0; i < spec.layers_size(); ++i) {
    const v1::Layer& layer = spec.layers(i);
    const std::string where = absl::StrCat("layer '", layer.name(), "': ");
    if (!names.insert(layer.name()).second) {
      return absl::InvalidArgumentError(absl::StrCat(where, "expected a name of its own, got one used before"));
    }
    if (!layer.has_dense()) return absl::InvalidArgumentError(absl::StrCat(where, "kind: expected dense, got none"));
    const v1::DenseLayer& dense = layer.dense();
    for (const auto& [field, width] : {std::pair{"inputs", dense.inputs()}, std::pair{"outputs", dense.outputs()}}) {
      if (width < 1 || width > kMaxWidth) {
        return absl::InvalidArgumentError(absl::StrCat(where, field, ": expected 1 to ", kMaxWidth, ", got ", width));
      }
    }
    if (dense.activation() < v1::LINEAR || dense.activation() > v1::LEAKY_RELU) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "activation: expected LINEAR, RELU, LEAKY_RELU, TANH or SIGMOID, got ",
                       static_cast<int>(dense.activation())));
    }
    if (i > 0 && dense.inputs() != spec.layers(i - 1).dense().outputs()) {
      return absl::InvalidArgumentError(absl::StrCat(where, "inputs: expected ", spec.layers(i - 1).dense().outputs(),
                                                     " (the outputs of '", spec.layers(i - 1).name(), "'), got ",
                                                     dense.inputs()));
    }
    DenseOffsets offsets;
    offsets.weights = size;
    size = AlignUp(size + size_t{dense.inputs()} * dense.outputs());
    offsets.bias = size;
    size = AlignUp(size + dense.outputs());
    if (size > kMaxParameters) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "expected at most ", kMaxParameters, " parameters in a network, got more"));
    }
    network.offsets_.push_back(offsets);
  }
  network.spec_ = std::move(spec);
  network.parameters_ = AlignedBuffer(size);
  return network;
}

void Network::Initialise(Random& random) {
  for (int i = 0; i < spec_.layers_size(); ++i) {
    const v1::DenseLayer& dense = spec_.layers(i).dense();
    const double fan_in = dense.inputs(), fan_out = dense.outputs();
    const bool rectified = dense.activation() == v1::RELU || dense.activation() == v1::LEAKY_RELU;
    const double limit = rectified ? std::sqrt(6.0 / fan_in) : std::sqrt(6.0 / (fan_in + fan_out));
    const auto weights = parameters_.span().subspan(offsets_[i].weights, size_t{dense.inputs()} * dense.outputs());
    random.FillUniform(weights);
    for (float& w : weights) w = static_cast<float>((2.0 * w - 1.0) * limit);
    std::ranges::fill(parameters_.span().subspan(offsets_[i].bias, dense.outputs()), 0.0f);
  }
}

absl::Status Network::SetParameters(std::span<const float> parameters) {
  if (parameters.size() != parameters_.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("parameters: expected ", parameters_.size(), " numbers, got ", parameters.size()));
  }
  for (int i = 0; i < spec_.layers_size(); ++i) {
    const v1::DenseLayer& dense = spec_.layers(i).dense();
    const size_t weights = size_t{dense.inputs()} * dense.outputs();
    for (const auto& [what, begin, count] : {std::tuple{"weights", offsets_[i].weights, weights},
                                             std::tuple{"bias", offsets_[i].bias, size_t{dense.outputs()}}}) {
      for (size_t k = 0; k < count; ++k) {
        if (!std::isfinite(parameters[begin + k])) {
          return absl::InvalidArgumentError(absl::StrCat("layer '", spec_.layers(i).name(), "': ", what, "[", k,
                                                         "]: expected a finite number, got ", parameters[begin + k]));
        }
      }
    }
  }
  std::ranges::copy(parameters, parameters_.data());
  return absl::OkStatus();
}

size_t Network::input_size() const { return spec_.layers(0).dense().inputs(); }
size_t Network::output_size() const { return spec_.layers(spec_.layers_size() - 1).dense().outputs(); }
size_t Network::code_size() const { return spec_.layers(static_cast<int>(spec_.code_layer())).dense().outputs(); }

size_t Network::parameter_count() const {
  size_t count = 0;
  for (const v1::Layer& layer : spec_.layers()) count += (size_t{layer.dense().inputs()} + 1) * layer.dense().outputs();
  return count;
}

Network Network::Clone() const {
  Network copy;
  copy.spec_ = spec_;
  copy.offsets_ = offsets_;
  copy.parameters_ = AlignedBuffer(parameters_.size());
  std::ranges::copy(parameters_.span(), copy.parameters_.data());
  return copy;
}

}  // namespace astray
