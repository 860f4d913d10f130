// The functions of network.proto's Activation, and the loops beside matrix products that training makes of them.
#pragma once

#include <cstddef>
#include <span>

#include "astray/v1/network.pb.h"

namespace astray {

inline constexpr float kLeakyReluSlope = 0.01f;  // of LEAKY_RELU below 0 (Maas, Hannun & Ng 2013)

// ZERO_INFLATED_COUNTS of one row, which changes the first third of it.
void ActivateCounts(std::span<float> row);

// The others, with a bias before them: y = f(y + bias), for rows of `columns` values that begin `stride` apart. A null
// bias is none. Not a number stays one under TANH and SIGMOID.
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
