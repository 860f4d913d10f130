#include "engine/nn/activation.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cmath>
#include <limits>
#include <vector>

#include "engine/base/random.h"
#include "tests/testing/reference_network.h"

namespace astray {
namespace {

constexpr v1::Activation kActivations[] = {v1::LINEAR, v1::RELU, v1::LEAKY_RELU, v1::TANH, v1::SIGMOID};

// Calls body once for each kind of vector that this machine has.
template <typename Body>
void ForEachTarget(Body body) {
  for (int64_t left = hwy::SupportedTargets(); left != 0; left &= left - 1) {
    hwy::SetSupportedTargetsForTest(left & -left);
    SCOPED_TRACE(hwy::TargetName(left & -left));
    body();
  }
  hwy::SetSupportedTargetsForTest(0);
}

// Columns 2 to 39 of a matrix of 43: the rest must stay.
constexpr size_t kRows = 5, kStride = 43, kBegin = 2, kColumns = 38;

TEST(Activation, OfATileIsTheFormulas) {
  std::vector<float> z(kRows * kStride), bias(kColumns);
  Random(1).FillNormal(z);
  for (float& value : z) value *= 4;
  Random(2).FillNormal(bias);
  ForEachTarget([&] {
    for (const v1::Activation activation : kActivations) {
      std::vector<float> y = z;
      AddBiasAndActivate(activation, bias.data(), kRows, kColumns, kStride, y.data() + kBegin);
      for (size_t i = 0; i < z.size(); ++i) {
        const size_t column = i % kStride;
        const bool inside = column >= kBegin && column < kBegin + kColumns;
        const double expected =
            inside ? testing::Activated(activation, double{z[i] + bias[column - kBegin]}) : double{z[i]};
        ASSERT_NEAR(y[i], expected, inside ? 1e-6 * (1 + std::abs(expected)) : 0) << activation << " at " << i;
      }
    }
  });
}

TEST(Activation, ItsDerivativeIsTheFormulas) {
  std::vector<float> y(kRows * kStride), delta(y.size());
  Random(1).FillUniform(y);
  for (size_t i = 0; i < y.size(); i += 3) y[i] = -y[i];
  Random(2).FillNormal(delta);
  ForEachTarget([&] {
    for (const v1::Activation activation : kActivations) {
      std::vector<float> result = delta;
      MultiplyByDerivative(activation, kRows, kColumns, kStride, y.data() + kBegin, result.data() + kBegin);
      for (size_t i = 0; i < y.size(); ++i) {
        const bool inside = i % kStride >= kBegin && i % kStride < kBegin + kColumns;
        const double expected = inside ? delta[i] * DerivativesAt(activation, y[i]).first : delta[i];
        ASSERT_NEAR(result[i], expected, inside ? 1e-6 * std::abs(delta[i]) : 0) << activation << " at " << i;
      }
    }
  });
}

TEST(Activation, RowsAddUp) {
  std::vector<float> values(kRows * kStride);
  Random(1).FillNormal(values);
  ForEachTarget([&] {
    for (const size_t rows : {size_t{0}, size_t{1}, kRows - 1, kRows}) {
      std::vector<float> sums(kColumns + 1, 7.0f);
      SumRows(rows, kColumns, kStride, values.data() + kBegin, sums.data());
      for (size_t j = 0; j < kColumns; ++j) {
        double expected = 0;
        for (size_t i = 0; i < rows; ++i) expected += values[i * kStride + kBegin + j];
        ASSERT_NEAR(sums[j], expected, 1e-5);
      }
      EXPECT_EQ(sums[kColumns], 7.0f);
    }
  });
}

TEST(Activation, SaturatesWithoutOverflowAndKeepsNaN) {
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN(), kHuge = std::numeric_limits<float>::max();
  ForEachTarget([&] {
    std::vector<float> sigmoid(20, -kHuge), tanh(20, kHuge);
    sigmoid[0] = tanh[0] = sigmoid[19] = tanh[19] = kNaN;
    AddBiasAndActivate(v1::SIGMOID, nullptr, 1, 20, 20, sigmoid.data());
    AddBiasAndActivate(v1::TANH, nullptr, 1, 20, 20, tanh.data());
    for (const size_t i : {0, 19}) EXPECT_TRUE(std::isnan(sigmoid[i]) && std::isnan(tanh[i]));
    for (size_t i = 1; i < 19; ++i) {
      EXPECT_NEAR(sigmoid[i], 0, 1e-30);
      EXPECT_EQ(tanh[i], 1);
    }
  });
}

}  // namespace
}  // namespace astray
