// Networks with data to compute gradients of, and the check of a gradient against central differences of the reference
// in double precision.
#pragma once

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/random.h"
#include "engine/nn/gradient.h"
#include "engine/nn/network.h"
#include "tests/testing/reference_network.h"

namespace astray {

struct Problem {
  Network network;
  std::vector<float> input, target, observed;
  std::vector<double> parameters;
};

inline Problem MakeProblem(v1::Activation hidden, v1::Activation output, uint64_t seed, bool masked, size_t batch) {
  Random random(seed);
  Problem p{.network = *Network::Create(testing::DenseSpec({5, 7, 3, 7, 5}, hidden, output))};
  p.network.Initialise(random);
  // Biases away from zero, so that their gradients matter and relu units are not on the kink.
  for (int l = 0; l < 4; ++l) {
    for (size_t k = 0; k < p.network.spec().layers(l).dense().outputs(); ++k) {
      // The output's are positive: a relu output that is off for every row would have no gradient at all.
      const double bias = 0.3 * random.Normal();
      p.network.parameters()[p.network.offsets(l).bias + k] = static_cast<float>(l == 3 ? std::abs(bias) + 0.5 : bias);
    }
  }
  p.input.resize(batch * 5);
  p.target.resize(batch * 5);
  random.FillNormal(p.input);
  random.FillUniform(p.target);
  if (masked) {
    p.observed.resize(batch * 5);
    for (float& o : p.observed) o = random.Uniform() < 0.6 ? 1.0f : 0.0f;
  }
  p.parameters.assign(p.network.parameters().begin(), p.network.parameters().end());
  return p;
}

inline Network FromText(const std::string& text, uint64_t seed) {
  v1::NetworkSpec spec;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &spec));
  auto network = Network::Create(spec);
  EXPECT_TRUE(network.ok()) << network.status();
  Random random(seed);
  network->Initialise(random);
  for (size_t l = 0; l < network->layers(); ++l) {
    for (size_t k = 0; k < network->shape(l).biases; ++k) {
      network->parameters()[network->offsets(l).bias + k] = static_cast<float>(0.3 * random.Normal());
    }
  }
  return *std::move(network);
}

// The gradient of `network`'s loss by every parameter against central differences of the double-precision reference.
inline void ExpectGradient(const Network& network, v1::Loss loss, std::span<const float> input,
                           std::span<const float> target, std::span<const float> observed) {
  auto gradient = Gradient::Create(network, loss, input.size() / network.input_size());
  ASSERT_TRUE(gradient.ok()) << gradient.status();
  const std::vector<double> parameters(network.parameters().begin(), network.parameters().end());
  const auto value = (*gradient)->Compute(input, target, observed);
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_NEAR(*value, testing::ReferenceLoss(network, parameters, loss, input, target, observed),
              1e-5 * std::max(1.0, *value));
  double largest = 0;
  for (const float g : (*gradient)->gradient()) largest = std::max(largest, std::abs(double{g}));
  ASSERT_GT(largest, 0);
  for (size_t k = 0; k < parameters.size(); ++k) {
    constexpr double kStep = 1e-6;
    std::vector<double> moved = parameters;
    moved[k] += kStep;
    const double above = testing::ReferenceLoss(network, moved, loss, input, target, observed);
    moved[k] -= 2 * kStep;
    const double below = testing::ReferenceLoss(network, moved, loss, input, target, observed);
    EXPECT_NEAR((*gradient)->gradient()[k], (above - below) / (2 * kStep), 3e-5 * largest + 1e-8) << "parameter " << k;
  }
}

}  // namespace astray
