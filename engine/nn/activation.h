// The functions of network.proto's Activation, where oneDNN does not apply them itself.
#pragma once

#include <cstddef>
#include <span>

#include "astray/v1/network.pb.h"

namespace astray {

inline constexpr float kLeakyReluSlope = 0.01f;  // of LEAKY_RELU below 0 (Maas, Hannun & Ng 2013)

// values = f(values), one row after another of `row` values: ZERO_INFLATED_COUNTS changes the first third of a row.
void Activate(v1::Activation activation, size_t row, std::span<float> values);

// The same with a bias before it: y = f(y + bias), for rows of `columns` values that begin `stride` apart. A null bias
// is none. Not for ZERO_INFLATED_COUNTS. Not a number stays one under TANH and SIGMOID.
void AddBiasAndActivate(v1::Activation activation, const float* bias, size_t rows, size_t columns, size_t stride,
                        float* y);

// delta *= f'(z), written by y = f(z), over rows as above. Not for ZERO_INFLATED_COUNTS, whose loss is of z.
void MultiplyByDerivative(v1::Activation activation, size_t rows, size_t columns, size_t stride, const float* y,
                          float* delta);

// sums[j] = the sum of column j over rows as above; overwrites.
void SumRows(size_t rows, size_t columns, size_t stride, const float* values, float* sums);

// f'(z) and f''(z), written by y = f(z); 0 on a kink.
struct Derivatives {
  double first, second;
};
Derivatives DerivativesAt(v1::Activation activation, double y);

}  // namespace astray
