#include "engine/nn/activation.h"

#include <algorithm>
#include <cmath>

namespace astray {
namespace {

float Softplus(float z) { return std::max(z, 0.0f) + std::log1p(std::exp(-std::abs(z))); }

}  // namespace

void Activate(v1::Activation activation, size_t row, std::span<float> values) {
  switch (activation) {
    case v1::RELU:
      for (float& v : values) v = v > 0.0f ? v : 0.0f;
      break;
    case v1::LEAKY_RELU:
      for (float& v : values) v = v > 0.0f ? v : kLeakyReluSlope * v;
      break;
    case v1::TANH:
      for (float& v : values) v = std::tanh(v);
      break;
    case v1::SIGMOID:
      for (float& v : values) v = 1.0f / (1.0f + std::exp(-v));
      break;
    case v1::ZERO_INFLATED_COUNTS:
      for (size_t begin = 0; begin < values.size(); begin += row) {
        for (float& v : values.subspan(begin, row / 3)) v = Softplus(v);
      }
      break;
    default:
      break;
  }
}

void MultiplyByDerivative(v1::Activation activation, std::span<const float> y, std::span<float> delta) {
  switch (activation) {
    case v1::RELU:
      for (size_t i = 0; i < y.size(); ++i) delta[i] = y[i] > 0.0f ? delta[i] : 0.0f;
      break;
    case v1::LEAKY_RELU:
      for (size_t i = 0; i < y.size(); ++i) delta[i] *= y[i] > 0.0f ? 1.0f : kLeakyReluSlope;
      break;
    case v1::TANH:
      for (size_t i = 0; i < y.size(); ++i) delta[i] *= 1.0f - y[i] * y[i];
      break;
    case v1::SIGMOID:
      for (size_t i = 0; i < y.size(); ++i) delta[i] *= y[i] * (1.0f - y[i]);
      break;
    default:
      break;
  }
}

Derivatives DerivativesAt(v1::Activation activation, double y) {
  switch (activation) {
    case v1::RELU:
      return {y > 0 ? 1.0 : 0.0, 0};
    case v1::LEAKY_RELU:
      return {y > 0 ? 1.0 : kLeakyReluSlope, 0};
    case v1::TANH:
      return {1 - y * y, -2 * y * (1 - y * y)};
    case v1::SIGMOID:
      return {y * (1 - y), y * (1 - y) * (1 - 2 * y)};
    default:
      return {1, 0};
  }
}

}  // namespace astray
