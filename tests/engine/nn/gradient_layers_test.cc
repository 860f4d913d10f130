// The gradients of every kind of layer: convolutions, pooling, tied weights, counts, dropout.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "engine/nn/gradient.h"
#include "tests/engine/nn/gradient_problem.h"
#include "tests/testing/reference_network.h"

namespace astray {
namespace {

using testing::ReferenceLoss;

class GradientOfANetwork : public ::testing::TestWithParam<const char*> {};

TEST_P(GradientOfANetwork, EqualsFiniteDifferencesInDoublePrecision) {
  for (const uint64_t seed : {1, 2, 3}) {
    const Network network = FromText(GetParam(), seed);
    constexpr size_t kBatch = 5;
    Random random(10 + seed);
    std::vector<float> input(kBatch * network.input_size()), target(kBatch * network.output_size());
    random.FillNormal(input);
    random.FillUniform(target);
    std::vector<float> observed(target.size());
    for (float& o : observed) o = random.Uniform() < 0.7 ? 1.0f : 0.0f;
    ExpectGradient(network, v1::MEAN_SQUARED_ERROR, input, target, observed);
  }
}

// Convolutions over images and windows, with strides and padding; pooling; transposed convolutions; tied weights, of
// two layers too.
INSTANTIATE_TEST_SUITE_P(EveryLayer, GradientOfANetwork,
                         ::testing::Values(
                             R"(layers { name: "c" convolution { input { height: 6 width: 4 channels: 2 } channels: 3
             kernel { height: 3 width: 3 } padding { height: 1 width: 1 } activation: TANH } }
           layers { name: "p" max_pool { size { height: 2 width: 2 } } }
           layers { name: "t" transposed_convolution { channels: 2 kernel { height: 2 width: 2 }
             stride { height: 2 width: 2 } activation: LINEAR } } code_layer: 1)",
                             R"(layers { name: "c" convolution { input { height: 1 width: 11 channels: 3 } channels: 4
             kernel { width: 4 } stride { width: 2 } padding { width: 1 } activation: SIGMOID } }
           layers { name: "t" transposed_convolution { channels: 3 kernel { width: 5 } stride { width: 2 }
             padding { width: 1 } activation: TANH } } code_layer: 0)",
                             R"(layers { name: "c" convolution { input { height: 5 width: 5 channels: 1 } channels: 17
             kernel { height: 2 width: 3 } activation: LEAKY_RELU } }
           layers { name: "d" dense { outputs: 4 activation: TANH } }
           layers { name: "u" dense { outputs: 204 activation: RELU } }
           layers { name: "t" transposed_convolution { input { height: 4 width: 3 channels: 17 } channels: 1
             kernel { height: 2 width: 3 } activation: LINEAR } } code_layer: 1)",
                             R"(layers { name: "a" dense { inputs: 6 outputs: 5 activation: TANH } }
           layers { name: "b" dense { outputs: 3 activation: SIGMOID } }
           layers { name: "c" dense { outputs: 5 activation: TANH tied_to: "b" } }
           layers { name: "d" dense { outputs: 6 activation: LINEAR tied_to: "a" } } code_layer: 1)",
                             R"(layers { name: "a" dense { inputs: 4 outputs: 4 activation: TANH } }
           layers { name: "b" dense { outputs: 4 activation: TANH tied_to: "a" } }
           layers { name: "c" dense { outputs: 4 activation: LINEAR tied_to: "a" } } code_layer: 0)"));

TEST(Gradient, OfZeroInflatedCountsEqualsFiniteDifferences) {
  for (const uint64_t seed : {1, 2, 3}) {
    const Network network = FromText(R"(layers { name: "h" dense { inputs: 4 outputs: 6 activation: TANH } }
                                        layers { name: "o" dense { outputs: 12 activation: ZERO_INFLATED_COUNTS } })",
                                     seed);
    constexpr size_t kBatch = 12;
    Random random(20 + seed);
    std::vector<float> counts(kBatch * 4), observed(counts.size());
    for (size_t i = 0; i < counts.size(); ++i) {
      const double count = random.Uniform() < 0.4 ? 0.0 : std::floor(std::exp(2 * random.Uniform()) * 3);
      counts[i] = static_cast<float>(std::log1p(count));
      observed[i] = random.Uniform() < 0.8 ? 1.0f : 0.0f;
    }
    ExpectGradient(network, v1::ZERO_INFLATED_NEGATIVE_BINOMIAL, counts, counts, observed);
  }
}

// Inverted dropout: a value is 0 or 1 / (1 - rate) times itself, afresh in every step; in use nothing happens.
TEST(Gradient, DropoutScalesWhatItKeepsAndIsOffInUse) {
  const Network network = FromText(R"(layers { name: "h" dense { inputs: 3 outputs: 200 activation: RELU } }
                                      layers { name: "r" dropout { rate: 0.25 } }
                                      layers { name: "o" dense { outputs: 3 activation: LINEAR } })",
                                   1);
  std::vector<float> input(3 * 50), target(3 * 50);
  Random random(3);
  random.FillNormal(input);
  auto gradient = *Gradient::Create(network, v1::MEAN_SQUARED_ERROR, 50, {}, Random(9));
  auto same = *Gradient::Create(network, v1::MEAN_SQUARED_ERROR, 50, {}, Random(9));
  const double first = *gradient->Compute(input, target, {});
  EXPECT_EQ(first, *same->Compute(input, target, {})) << "the same seed, the same masks";
  EXPECT_NE(first, *gradient->Compute(input, target, {})) << "fresh masks in the next step";
  const std::vector<double> parameters(network.parameters().begin(), network.parameters().end());
  EXPECT_NEAR(*gradient->Loss(input, target, {}),
              ReferenceLoss(network, parameters, v1::MEAN_SQUARED_ERROR, input, target, {}), 1e-5);
}

// With the masks of a seed the loss is a function of the parameters alone, so differences of it are the gradient.
TEST(Gradient, GoesThroughTheMasksOfDropout) {
  Network network = FromText(R"(layers { name: "h" dense { inputs: 3 outputs: 6 activation: TANH } }
                                layers { name: "r" dropout { rate: 0.5 } }
                                layers { name: "o" dense { outputs: 3 activation: LINEAR } })",
                             1);
  std::vector<float> input(3 * 8), target(3 * 8);
  Random random(3);
  random.FillNormal(input);
  const auto loss = [&] {
    return *(*Gradient::Create(network, v1::MEAN_SQUARED_ERROR, 8, {}, Random(9)))->Compute(input, target, {});
  };
  auto gradient = *Gradient::Create(network, v1::MEAN_SQUARED_ERROR, 8, {}, Random(9));
  ASSERT_TRUE(gradient->Compute(input, target, {}).ok());
  for (size_t k = 0; k < network.parameters().size(); ++k) {
    constexpr float kStep = 1e-2f;
    const float before = network.parameters()[k];
    network.parameters()[k] = before + kStep;
    const double above = loss();
    network.parameters()[k] = before - kStep;
    const double below = loss();
    network.parameters()[k] = before;
    EXPECT_NEAR(gradient->gradient()[k], (above - below) / (2 * kStep), 2e-3) << "parameter " << k;
  }
}

}  // namespace
}  // namespace astray
