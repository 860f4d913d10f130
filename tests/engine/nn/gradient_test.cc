#include "engine/nn/gradient.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <tuple>
#include <vector>

#include "tests/engine/nn/gradient_problem.h"
#include "tests/testing/reference_network.h"

namespace astray {
namespace {

using testing::ReferenceLoss;

using Case = std::tuple<v1::Activation, v1::Activation, v1::Loss, bool>;

class GradientOfEveryLayer : public ::testing::TestWithParam<Case> {};

TEST_P(GradientOfEveryLayer, EqualsFiniteDifferencesInDoublePrecision) {
  const auto [hidden, output, loss, masked] = GetParam();
  for (uint64_t seed : {1, 2, 3}) {
    constexpr size_t kBatch = 9;
    Problem p = MakeProblem(hidden, output, seed, masked, kBatch);
    if (loss == v1::HUBER) {
      for (float& target : p.target) target = 5 * target - 2.5f;
    }
    auto gradient = Gradient::Create(p.network, loss, kBatch);
    ASSERT_TRUE(gradient.ok()) << gradient.status();
    const auto value = (*gradient)->Compute(p.input, p.target, p.observed);
    ASSERT_TRUE(value.ok()) << value.status();
    EXPECT_NEAR(*value, ReferenceLoss(p.network, p.parameters, loss, p.input, p.target, p.observed), 1e-5);
    EXPECT_NEAR(*(*gradient)->Loss(p.input, p.target, p.observed), *value, 1e-12);

    double largest = 0;
    for (const float g : (*gradient)->gradient()) largest = std::max(largest, std::abs(double{g}));
    ASSERT_GT(largest, 0);
    for (size_t k = 0; k < p.parameters.size(); ++k) {
      constexpr double kStep = 1e-6;
      std::vector<double> moved = p.parameters;
      moved[k] += kStep;
      const double above = ReferenceLoss(p.network, moved, loss, p.input, p.target, p.observed);
      moved[k] -= 2 * kStep;
      const double below = ReferenceLoss(p.network, moved, loss, p.input, p.target, p.observed);
      EXPECT_NEAR((*gradient)->gradient()[k], (above - below) / (2 * kStep), 2e-5 * largest + 1e-8)
          << "parameter " << k << " seed " << seed;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    MeanSquaredError, GradientOfEveryLayer,
    ::testing::Combine(::testing::Values(v1::LINEAR, v1::RELU, v1::LEAKY_RELU, v1::TANH, v1::SIGMOID),
                       ::testing::Values(v1::LINEAR, v1::RELU, v1::LEAKY_RELU, v1::TANH, v1::SIGMOID),
                       ::testing::Values(v1::MEAN_SQUARED_ERROR), ::testing::Bool()));
INSTANTIATE_TEST_SUITE_P(
    BinaryCrossEntropy, GradientOfEveryLayer,
    ::testing::Combine(::testing::Values(v1::LINEAR, v1::RELU, v1::LEAKY_RELU, v1::TANH, v1::SIGMOID),
                       ::testing::Values(v1::SIGMOID), ::testing::Values(v1::BINARY_CROSS_ENTROPY), ::testing::Bool()));

// The targets are moved apart, so that residuals lie on both sides of 1.
INSTANTIATE_TEST_SUITE_P(Huber, GradientOfEveryLayer,
                         ::testing::Combine(::testing::Values(v1::RELU, v1::LEAKY_RELU, v1::TANH),
                                            ::testing::Values(v1::LINEAR, v1::SIGMOID), ::testing::Values(v1::HUBER),
                                            ::testing::Bool()));

TEST(Gradient, FollowsTheNetworksParametersFromCallToCall) {
  Problem p = MakeProblem(v1::RELU, v1::LINEAR, 1, false, 4);
  auto gradient = *Gradient::Create(p.network, v1::MEAN_SQUARED_ERROR, 4);
  const double before = *gradient->Compute(p.input, p.target, {});
  for (size_t k = 0; k < p.parameters.size(); ++k) p.network.parameters()[k] -= 0.05f * gradient->gradient()[k];
  EXPECT_LT(*gradient->Loss(p.input, p.target, {}), before);
}

TEST(Gradient, SameInputsGiveTheSameBytes) {
  Problem p = MakeProblem(v1::TANH, v1::LINEAR, 1, true, 33);
  auto first = *Gradient::Create(p.network, v1::MEAN_SQUARED_ERROR, 33);
  auto second = *Gradient::Create(p.network, v1::MEAN_SQUARED_ERROR, 33);
  EXPECT_EQ(*first->Compute(p.input, p.target, p.observed), *second->Compute(p.input, p.target, p.observed));
  EXPECT_TRUE(std::ranges::equal(first->gradient(), second->gradient()));
}

TEST(Gradient, UnobservedEntriesTeachNothing) {
  Problem p = MakeProblem(v1::RELU, v1::LINEAR, 5, true, 16);
  auto gradient = *Gradient::Create(p.network, v1::MEAN_SQUARED_ERROR, 16);
  const double loss = *gradient->Compute(p.input, p.target, p.observed);
  const std::vector<float> before(gradient->gradient().begin(), gradient->gradient().end());
  for (size_t k = 0; k < p.target.size(); ++k) {
    if (p.observed[k] == 0) p.target[k] += 100;
  }
  EXPECT_EQ(*gradient->Compute(p.input, p.target, p.observed), loss);
  EXPECT_TRUE(std::ranges::equal(gradient->gradient(), before));
}

TEST(Gradient, NothingObservedGivesZero) {
  Problem p = MakeProblem(v1::RELU, v1::LINEAR, 5, false, 2);
  auto gradient = *Gradient::Create(p.network, v1::MEAN_SQUARED_ERROR, 2);
  EXPECT_EQ(*gradient->Compute(p.input, p.target, std::vector<float>(p.target.size(), 0.0f)), 0);
  EXPECT_THAT(gradient->gradient(), ::testing::Each(0.0f));
}

TEST(Gradient, CrossEntropyStaysFiniteWhereTheOutputSaturates) {
  Problem p = MakeProblem(v1::LINEAR, v1::SIGMOID, 1, false, 1);
  for (float& x : p.input) x *= 1e4f;
  auto gradient = *Gradient::Create(p.network, v1::BINARY_CROSS_ENTROPY, 1);
  EXPECT_TRUE(std::isfinite(*gradient->Compute(p.input, p.target, {})));
}

TEST(Gradient, RefusesCrossEntropyWithoutSigmoid) {
  const Problem p = MakeProblem(v1::RELU, v1::LINEAR, 1, false, 1);
  const auto gradient = Gradient::Create(p.network, v1::BINARY_CROSS_ENTROPY, 1);
  EXPECT_EQ(gradient.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(gradient.status().message(),
            "loss: BINARY_CROSS_ENTROPY expects layer 'layer_3' to be SIGMOID, got LINEAR");
}

}  // namespace
}  // namespace astray
