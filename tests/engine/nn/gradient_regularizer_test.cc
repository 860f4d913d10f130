// The gradients of what the code costs beside the loss.
#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <tuple>
#include <vector>

#include "engine/nn/gradient.h"
#include "tests/engine/nn/gradient_problem.h"
#include "tests/testing/reference_network.h"

namespace astray {
namespace {

using testing::ReferenceLoss;

// |d code / d input|², by its definition: the encoder is one layer.
double ReferenceContraction(const Network& network, std::span<const double> parameters, std::span<const float> input) {
  const size_t inputs = network.input_size(), units = network.code_size(), rows = input.size() / inputs;
  constexpr double kStep = 1e-5;
  double sum = 0;
  for (size_t r = 0; r < rows; ++r) {
    for (size_t i = 0; i < inputs; ++i) {
      std::vector<double> z(units);
      for (const double side : {1.0, -1.0}) {
        for (size_t j = 0; j < units; ++j) {
          double value = parameters[network.offsets(0).bias + j];
          for (size_t k = 0; k < inputs; ++k) {
            value += parameters[network.offsets(0).weights + j * inputs + k] *
                     (double{input[r * inputs + k]} + (k == i ? side * kStep : 0));
          }
          z[j] += side * testing::Activated(network.shape(0).activation, value) / (2 * kStep);
        }
      }
      for (const double slope : z) sum += slope * slope / static_cast<double>(rows);
    }
  }
  return sum;
}

TEST(Gradient, OfTheContractivePenaltyEqualsFiniteDifferences) {
  for (const v1::Activation activation : {v1::SIGMOID, v1::TANH, v1::LINEAR, v1::RELU, v1::LEAKY_RELU}) {
    const Network network =
        FromText("layers { name: 'h' dense { inputs: 5 outputs: 4 activation: " + v1::Activation_Name(activation) +
                     " } } layers { name: 'o' dense { outputs: 5 activation: LINEAR } }",
                 4);
    std::vector<float> input(5 * 6), target(5 * 6);
    Random random(5);
    random.FillNormal(input);
    google::protobuf::RepeatedPtrField<v1::Regularizer> regularizers;
    regularizers.Add()->mutable_contractive()->set_weight(0.5f);
    auto gradient = *Gradient::Create(network, v1::MEAN_SQUARED_ERROR, 6, regularizers);
    const auto total = [&](std::span<const double> at) {
      return ReferenceLoss(network, at, v1::MEAN_SQUARED_ERROR, input, target, {}) +
             0.5 * ReferenceContraction(network, at, input);
    };
    const std::vector<double> parameters(network.parameters().begin(), network.parameters().end());
    EXPECT_NEAR(*gradient->Compute(input, target, {}), total(parameters), 1e-5);
    for (size_t k = 0; k < parameters.size(); ++k) {
      constexpr double kStep = 1e-4;
      std::vector<double> moved = parameters;
      moved[k] += kStep;
      const double above = total(moved);
      moved[k] -= 2 * kStep;
      EXPECT_NEAR(gradient->gradient()[k], (above - total(moved)) / (2 * kStep), 1e-4) << "parameter " << k;
    }
  }
}

TEST(Gradient, RefusesAContractivePenaltyThatWouldNotBeExact) {
  const Network network = FromText(R"(layers { name: "a" dense { inputs: 4 outputs: 8 activation: TANH } }
                                      layers { name: "b" dense { outputs: 2 activation: TANH } }
                                      layers { name: "c" dense { outputs: 4 activation: LINEAR } } code_layer: 1)",
                                   1);
  google::protobuf::RepeatedPtrField<v1::Regularizer> regularizers;
  regularizers.Add()->mutable_contractive()->set_weight(1);
  EXPECT_EQ(Gradient::Create(network, v1::MEAN_SQUARED_ERROR, 4, regularizers).status().message(),
            "regularizer[0].contractive: needs an encoder of one dense layer, whose Jacobian is exact, got the code in "
            "layer 'b', number 2");
}

using Kind = v1::Regularizer::KindCase;

// recipe.proto's formulas, in double precision.
double ReferencePenalty(const Problem& p, std::span<const double> parameters, const v1::Regularizer& regularizer) {
  const size_t rows = p.input.size() / 5, layer = p.network.spec().code_layer();
  std::vector<double> mean(3);
  double absolute = 0;
  for (size_t r = 0; r < rows; ++r) {
    const auto outputs = testing::ReferenceForward(p.network, parameters, std::span(p.input).subspan(r * 5, 5));
    for (size_t j = 0; j < 3; ++j) {
      mean[j] += outputs[layer][j] / static_cast<double>(rows);
      absolute += std::abs(outputs[layer][j]) / static_cast<double>(rows);
    }
  }
  if (regularizer.has_l1_sparsity()) return double{regularizer.l1_sparsity().weight()} * absolute;
  const double target = regularizer.kl_sparsity().target();
  double sum = 0;
  for (const double m : mean) {
    sum += target * std::log(target / m) + (1 - target) * std::log((1 - target) / (1 - m));
  }
  return double{regularizer.kl_sparsity().weight()} * sum;
}

class GradientOfARegularizer : public ::testing::TestWithParam<std::tuple<v1::Activation, Kind>> {};

TEST_P(GradientOfARegularizer, EqualsFiniteDifferencesInDoublePrecision) {
  const auto [hidden, kind] = GetParam();
  google::protobuf::RepeatedPtrField<v1::Regularizer> regularizers;
  if (kind == Kind::kL1Sparsity) {
    regularizers.Add()->mutable_l1_sparsity()->set_weight(0.7f);
  } else {
    regularizers.Add()->mutable_kl_sparsity()->set_weight(0.4f);
    regularizers[0].mutable_kl_sparsity()->set_target(0.1f);
  }
  constexpr size_t kBatch = 9;
  const Problem p = MakeProblem(hidden, v1::LINEAR, 2, true, kBatch);
  auto gradient = *Gradient::Create(p.network, v1::MEAN_SQUARED_ERROR, kBatch, regularizers);
  const auto total = [&](std::span<const double> parameters) {
    return ReferenceLoss(p.network, parameters, v1::MEAN_SQUARED_ERROR, p.input, p.target, p.observed) +
           ReferencePenalty(p, parameters, regularizers[0]);
  };
  const double value = *gradient->Compute(p.input, p.target, p.observed);
  EXPECT_NEAR(value, total(p.parameters), 1e-5);
  EXPECT_LT(*gradient->Loss(p.input, p.target, p.observed), value - 1e-3) << "validation measures the loss alone";
  for (size_t k = 0; k < p.parameters.size(); ++k) {
    constexpr double kStep = 1e-6;
    std::vector<double> moved = p.parameters;
    moved[k] += kStep;
    const double above = total(moved);
    moved[k] -= 2 * kStep;
    EXPECT_NEAR(gradient->gradient()[k], (above - total(moved)) / (2 * kStep), 5e-5) << "parameter " << k;
  }
}

INSTANTIATE_TEST_SUITE_P(L1, GradientOfARegularizer,
                         ::testing::Combine(::testing::Values(v1::RELU, v1::TANH, v1::SIGMOID),
                                            ::testing::Values(Kind::kL1Sparsity)));
INSTANTIATE_TEST_SUITE_P(Kl, GradientOfARegularizer,
                         ::testing::Combine(::testing::Values(v1::SIGMOID), ::testing::Values(Kind::kKlSparsity)));

}  // namespace
}  // namespace astray
