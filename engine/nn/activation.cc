#include "engine/nn/activation.h"

#include <algorithm>
#include <cmath>

// Compiled once for each kind of vector.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/nn/activation.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "engine/nn/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace astray {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// f(v), lane by lane.
template <v1::Activation activation, class D, class V>
HWY_INLINE V Activated(D d, V v) {
  const V zero = hn::Zero(d), one = hn::Set(d, 1.0f);
  if constexpr (activation == v1::RELU) {
    return hn::IfThenElseZero(hn::Gt(v, zero), v);
  } else if constexpr (activation == v1::LEAKY_RELU) {
    return hn::IfThenElse(hn::Gt(v, zero), v, hn::Mul(v, hn::Set(d, kLeakyReluSlope)));
  } else if constexpr (activation == v1::TANH) {
    return hn::IfThenElse(hn::IsNaN(v), v, hn::Tanh(d, v));
  } else if constexpr (activation == v1::SIGMOID) {
    const V power = hn::Exp(d, hn::Min(hn::Neg(v), hn::Set(d, 88.0f)));  // finite in float
    return hn::IfThenElse(hn::IsNaN(v), v, hn::Div(one, hn::Add(one, power)));
  } else {
    return v;
  }
}

template <v1::Activation activation>
HWY_NOINLINE void ActivateRows(const float* bias, size_t rows, size_t columns, size_t stride, float* y) {
  for (size_t row = 0; row < rows; ++row, y += stride) {
    ForEachLanes(columns, [&](auto d, size_t j) HWY_ATTR {
      auto v = hn::LoadU(d, y + j);
      if (bias != nullptr) v = hn::Add(v, hn::LoadU(d, bias + j));
      hn::StoreU(Activated<activation>(d, v), d, y + j);
    });
  }
}

void AddBiasAndActivate(v1::Activation activation, const float* bias, size_t rows, size_t columns, size_t stride,
                        float* y) {
  switch (activation) {
    case v1::RELU:
      return ActivateRows<v1::RELU>(bias, rows, columns, stride, y);
    case v1::LEAKY_RELU:
      return ActivateRows<v1::LEAKY_RELU>(bias, rows, columns, stride, y);
    case v1::TANH:
      return ActivateRows<v1::TANH>(bias, rows, columns, stride, y);
    case v1::SIGMOID:
      return ActivateRows<v1::SIGMOID>(bias, rows, columns, stride, y);
    default:
      return ActivateRows<v1::LINEAR>(bias, rows, columns, stride, y);
  }
}

template <class Change>
HWY_INLINE void ForEachPair(size_t rows, size_t columns, size_t stride, const float* y, float* delta, Change change) {
  for (size_t row = 0; row < rows; ++row, y += stride, delta += stride) {
    ForEachLanes(columns, [&](auto d, size_t j) HWY_ATTR {
      hn::StoreU(change(d, hn::LoadU(d, y + j), hn::LoadU(d, delta + j)), d, delta + j);
    });
  }
}

void MultiplyByDerivative(v1::Activation activation, size_t rows, size_t columns, size_t stride, const float* y,
                          float* delta) {
  switch (activation) {
    case v1::RELU:
      return ForEachPair(rows, columns, stride, y, delta,
                         [](auto d, auto v, auto s) HWY_ATTR { return hn::IfThenElseZero(hn::Gt(v, hn::Zero(d)), s); });
    case v1::LEAKY_RELU:
      return ForEachPair(rows, columns, stride, y, delta, [](auto d, auto v, auto s) HWY_ATTR {
        return hn::IfThenElse(hn::Gt(v, hn::Zero(d)), s, hn::Mul(s, hn::Set(d, kLeakyReluSlope)));
      });
    case v1::TANH:
      return ForEachPair(rows, columns, stride, y, delta, [](auto d, auto v, auto s) HWY_ATTR {
        return hn::Mul(s, hn::Sub(hn::Set(d, 1.0f), hn::Mul(v, v)));
      });
    case v1::SIGMOID:
      return ForEachPair(rows, columns, stride, y, delta, [](auto d, auto v, auto s) HWY_ATTR {
        return hn::Mul(s, hn::Mul(v, hn::Sub(hn::Set(d, 1.0f), v)));
      });
    default:
      return;
  }
}

// Column by column in one register's vector: the sums are the same whatever the vectors.
void SumRows(size_t rows, size_t columns, size_t stride, const float* values, float* sums) {
  ForEachLanes(columns, [&](auto d, size_t j) HWY_ATTR {
    // Two chains of additions, of even and of odd rows, keep the adder busy.
    auto even = hn::Zero(d), odd = hn::Zero(d);
    const float* row = values + j;
    for (size_t i = 0; i + 2 <= rows; i += 2, row += 2 * stride) {
      even = hn::Add(even, hn::LoadU(d, row));
      odd = hn::Add(odd, hn::LoadU(d, row + stride));
    }
    if (rows % 2 == 1) even = hn::Add(even, hn::LoadU(d, row));
    hn::StoreU(hn::Add(even, odd), d, sums + j);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace astray
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace astray {
namespace {

HWY_EXPORT(AddBiasAndActivate);
HWY_EXPORT(MultiplyByDerivative);
HWY_EXPORT(SumRows);

float Softplus(float z) { return std::max(z, 0.0f) + std::log1p(std::exp(-std::abs(z))); }

}  // namespace

void ActivateCounts(std::span<float> row) {
  for (float& v : row.first(row.size() / 3)) v = Softplus(v);
}

void AddBiasAndActivate(v1::Activation activation, const float* bias, size_t rows, size_t columns, size_t stride,
                        float* y) {
  if (bias == nullptr && activation == v1::LINEAR) return;
  HWY_DYNAMIC_DISPATCH(AddBiasAndActivate)(activation, bias, rows, columns, stride, y);
}

void MultiplyByDerivative(v1::Activation activation, size_t rows, size_t columns, size_t stride, const float* y,
                          float* delta) {
  HWY_DYNAMIC_DISPATCH(MultiplyByDerivative)(activation, rows, columns, stride, y, delta);
}

void SumRows(size_t rows, size_t columns, size_t stride, const float* values, float* sums) {
  HWY_DYNAMIC_DISPATCH(SumRows)(rows, columns, stride, values, sums);
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
#endif  // HWY_ONCE
