// A network in double precision and plain loops, written from the formulas: what the oneDNN one is checked against.
#pragma once

#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "astray/v1/recipe.pb.h"
#include "engine/nn/network.h"

namespace astray::testing {

// Layers of the given sizes, `hidden` activation everywhere but at the end; the narrowest layer is the code.
inline v1::NetworkSpec DenseSpec(const std::vector<uint32_t>& sizes, v1::Activation hidden, v1::Activation output) {
  v1::NetworkSpec spec;
  uint32_t narrowest = 0;
  for (size_t i = 0; i + 1 < sizes.size(); ++i) {
    v1::Layer* layer = spec.add_layers();
    layer->set_name("layer_" + std::to_string(i));
    layer->mutable_dense()->set_inputs(sizes[i]);
    layer->mutable_dense()->set_outputs(sizes[i + 1]);
    layer->mutable_dense()->set_activation(i + 2 == sizes.size() ? output : hidden);
    if (sizes[i + 1] < sizes[narrowest + 1]) narrowest = static_cast<uint32_t>(i);
  }
  spec.set_code_layer(narrowest);
  return spec;
}

inline double Activated(v1::Activation activation, double z) {
  switch (activation) {
    case v1::RELU:
      return z > 0 ? z : 0;
    case v1::LEAKY_RELU:
      return z > 0 ? z : 0.01 * z;
    case v1::TANH:
      return std::tanh(z);
    case v1::SIGMOID:
      return 1 / (1 + std::exp(-z));
    default:
      return z;
  }
}

// Output of every layer for one row, the last one first passed through its activation as well.
inline std::vector<std::vector<double>> ReferenceForward(const Network& network, std::span<const double> parameters,
                                                         std::span<const float> row) {
  std::vector<std::vector<double>> outputs;
  std::vector<double> x(row.begin(), row.end());
  for (int l = 0; l < network.spec().layers_size(); ++l) {
    const v1::DenseLayer& dense = network.spec().layers(l).dense();
    std::vector<double> y(dense.outputs());
    for (size_t o = 0; o < y.size(); ++o) {
      double z = parameters[network.offsets(l).bias + o];
      for (size_t i = 0; i < x.size(); ++i) z += parameters[network.offsets(l).weights + o * x.size() + i] * x[i];
      y[o] = Activated(dense.activation(), z);
    }
    outputs.push_back(y);
    x = std::move(y);
  }
  return outputs;
}

// Of one output y against the target x.
inline double ReferenceLoss(v1::Loss loss, double y, double x) {
  const double residual = std::abs(y - x);
  switch (loss) {
    case v1::BINARY_CROSS_ENTROPY:
      return -(x * std::log(y) + (1 - x) * std::log(1 - y));
    case v1::HUBER:
      return residual < 1 ? residual * residual / 2 : residual - 0.5;
    default:
      return residual * residual;
  }
}

// Mean loss over observed entries.
inline double ReferenceLoss(const Network& network, std::span<const double> parameters, v1::Loss loss,
                            std::span<const float> input, std::span<const float> target,
                            std::span<const float> observed) {
  const size_t rows = input.size() / network.input_size(), width = network.output_size();
  double sum = 0, count = 0;
  for (size_t r = 0; r < rows; ++r) {
    const auto outputs =
        ReferenceForward(network, parameters, input.subspan(r * network.input_size(), network.input_size()));
    for (size_t j = 0; j < width; ++j) {
      const size_t k = r * width + j;
      if (!observed.empty() && observed[k] == 0) continue;
      const double y = outputs.back()[j], x = target[k];
      sum += ReferenceLoss(loss, y, x);
      ++count;
    }
  }
  return count == 0 ? 0 : sum / count;
}

}  // namespace astray::testing
