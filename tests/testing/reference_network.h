// A network in double precision and plain loops, written from the formulas: what the oneDNN one is checked against.
#pragma once

#include <algorithm>
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

// A value of `x`, 0 outside of it.
inline double At(const std::vector<double>& x, const TensorShape& shape, size_t row, size_t column, size_t channel) {
  if (row >= shape.height || column >= shape.width) return 0;  // what is negative wraps to large
  return x[(row * shape.width + column) * shape.channels + channel];
}

// network.proto's formulas, before activation and bias.
inline std::vector<double> ReferenceLayer(const Network& network, size_t index, const double* w,
                                          const std::vector<double>& x) {
  const v1::Layer& layer = network.spec().layers(static_cast<int>(index));
  const TensorShape in = network.shape(index).input, out = network.shape(index).output;
  std::vector<double> y(out.size());
  if (layer.has_dropout()) return x;
  if (layer.has_dense()) {
    const bool tied = network.shape(index).tied_to.has_value();
    for (size_t o = 0; o < y.size(); ++o) {
      for (size_t i = 0; i < x.size(); ++i) y[o] += w[tied ? i * y.size() + o : o * x.size() + i] * x[i];
    }
    return y;
  }
  for (size_t row = 0; row < out.height; ++row) {
    for (size_t column = 0; column < out.width; ++column) {
      for (size_t c = 0; c < out.channels; ++c) {
        double& sum = y[(row * out.width + column) * out.channels + c];
        if (layer.has_max_pool()) {
          const auto& size = layer.max_pool().size();
          sum = -1e300;
          for (size_t i = 0; i < size.height(); ++i) {
            for (size_t j = 0; j < size.width(); ++j) {
              sum = std::max(sum, At(x, in, row * size.height() + i, column * size.width() + j, c));
            }
          }
        } else if (layer.has_convolution()) {
          const v1::ConvolutionLayer& k = layer.convolution();
          for (size_t from = 0; from < in.channels; ++from) {
            for (size_t i = 0; i < k.kernel().height(); ++i) {
              for (size_t j = 0; j < k.kernel().width(); ++j) {
                const size_t place = ((c * in.channels + from) * k.kernel().height() + i) * k.kernel().width() + j;
                sum += w[place] * At(x, in, row * k.stride().height() + i - k.padding().height(),
                                     column * k.stride().width() + j - k.padding().width(), from);
              }
            }
          }
        } else {
          // Input (r, q) adds W to outputs (r stride + i - padding, q stride + j - padding).
          const v1::TransposedConvolutionLayer& k = layer.transposed_convolution();
          for (size_t from = 0; from < in.channels; ++from) {
            for (size_t i = 0; i < k.kernel().height(); ++i) {
              for (size_t j = 0; j < k.kernel().width(); ++j) {
                const size_t place = ((from * out.channels + c) * k.kernel().height() + i) * k.kernel().width() + j;
                const size_t down = row + k.padding().height() - i, right = column + k.padding().width() - j;
                if (down % k.stride().height() != 0 || right % k.stride().width() != 0) continue;
                sum += w[place] * At(x, in, down / k.stride().height(), right / k.stride().width(), from);
              }
            }
          }
        }
      }
    }
  }
  return y;
}

// Output of every layer for one row. Dropout does nothing, as in use.
inline std::vector<std::vector<double>> ReferenceForward(const Network& network, std::span<const double> parameters,
                                                         std::span<const float> row) {
  std::vector<std::vector<double>> outputs;
  std::vector<double> x(row.begin(), row.end());
  for (size_t l = 0; l < network.layers(); ++l) {
    const LayerShape& shape = network.shape(l);
    std::vector<double> y = ReferenceLayer(network, l, parameters.data() + network.offsets(l).weights, x);
    for (size_t o = 0; o < y.size(); ++o) {
      if (shape.biases > 0) y[o] += parameters[network.offsets(l).bias + o % shape.biases];
      const bool mean = shape.activation == v1::ZERO_INFLATED_COUNTS && o < y.size() / 3;
      y[o] = mean ? std::log1p(std::exp(y[o])) : Activated(shape.activation, y[o]);
    }
    outputs.push_back(y);
    x = std::move(y);
  }
  return outputs;
}

// -ln of the zero-inflated negative binomial's probability of the count k, by its formula.
inline double ReferenceCountLoss(double mean, double dispersion, double zeros, double k) {
  const double nb = std::exp(std::lgamma(k + dispersion) - std::lgamma(dispersion) - std::lgamma(k + 1)) *
                    std::pow(dispersion / (dispersion + mean), dispersion) * std::pow(mean / (dispersion + mean), k);
  return -std::log((k == 0 ? zeros : 0) + (1 - zeros) * nb);
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
  const size_t rows = input.size() / network.input_size(), width = network.reconstruction_size();
  double sum = 0, count = 0;
  for (size_t r = 0; r < rows; ++r) {
    const auto outputs =
        ReferenceForward(network, parameters, input.subspan(r * network.input_size(), network.input_size()));
    for (size_t j = 0; j < width; ++j) {
      const size_t k = r * width + j;
      if (!observed.empty() && observed[k] == 0) continue;
      const double y = outputs.back()[j], x = target[k];
      if (loss == v1::ZERO_INFLATED_NEGATIVE_BINOMIAL) {
        sum += ReferenceCountLoss(std::expm1(y), std::exp(outputs.back()[width + j]),
                                  1 / (1 + std::exp(-outputs.back()[2 * width + j])), std::round(std::expm1(x)));
      } else {
        sum += ReferenceLoss(loss, y, x);
      }
      ++count;
    }
  }
  return count == 0 ? 0 : sum / count;
}

}  // namespace astray::testing
