#include "engine/nn/gradient.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/testing/reference_network.h"

namespace astray {
namespace {

using testing::DenseSpec;
using testing::ReferenceLoss;

struct Problem {
  Network network;
  std::vector<float> input, target, observed;
  std::vector<double> parameters;
};

Problem MakeProblem(v1::Activation hidden, v1::Activation output, uint64_t seed, bool masked, size_t batch) {
  Random random(seed);
  Problem p{.network = *Network::Create(DenseSpec({5, 7, 3, 7, 5}, hidden, output))};
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

// The gradient of `network`'s loss by every parameter against central differences of the double-precision reference.
void ExpectGradient(const Network& network, v1::Loss loss, std::span<const float> input, std::span<const float> target,
                    std::span<const float> observed) {
  auto gradient = Gradient::Create(network, loss, input.size() / network.input_size());
  ASSERT_TRUE(gradient.ok()) << gradient.status();
  const std::vector<double> parameters(network.parameters().begin(), network.parameters().end());
  const auto value = (*gradient)->Compute(input, target, observed);
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_NEAR(*value, ReferenceLoss(network, parameters, loss, input, target, observed), 1e-5 * std::max(1.0, *value));
  double largest = 0;
  for (const float g : (*gradient)->gradient()) largest = std::max(largest, std::abs(double{g}));
  ASSERT_GT(largest, 0);
  for (size_t k = 0; k < parameters.size(); ++k) {
    constexpr double kStep = 1e-6;
    std::vector<double> moved = parameters;
    moved[k] += kStep;
    const double above = ReferenceLoss(network, moved, loss, input, target, observed);
    moved[k] -= 2 * kStep;
    const double below = ReferenceLoss(network, moved, loss, input, target, observed);
    EXPECT_NEAR((*gradient)->gradient()[k], (above - below) / (2 * kStep), 3e-5 * largest + 1e-8) << "parameter " << k;
  }
}

Network FromText(const std::string& text, uint64_t seed) {
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

// Large enough for the team, and for many tiles of every kind.
struct LargeProblem {
  LargeProblem(const std::string& text, size_t batch, v1::Loss of = v1::MEAN_SQUARED_ERROR)
      : network(FromText(text, 3)), batch_size(batch), loss(of) {
    Random random(4);
    input.resize(batch * network.input_size());
    target.resize(batch * network.reconstruction_size());
    observed.resize(target.size());
    random.FillNormal(input);
    random.FillUniform(target);
    for (float& o : observed) o = random.Uniform() < 0.7 ? 1.0f : 0.0f;
    if (loss == v1::ZERO_INFLATED_NEGATIVE_BINOMIAL) {
      for (float& value : target) value = static_cast<float>(std::log1p(std::floor(5 * value)));
    }
  }
  // What a team of so many threads makes of it: the loss, of two calls, the validation loss and the gradient.
  std::vector<double> Run(ThreadTeam* team) const {
    google::protobuf::RepeatedPtrField<v1::Regularizer> regularizers;
    if (regularized) regularizers.Add()->mutable_l1_sparsity()->set_weight(0.01f);
    auto gradient = *Gradient::Create(network, loss, batch_size, regularizers, Random(9), team);
    std::vector<double> results = {*gradient->Compute(input, target, observed), *gradient->Compute(input, target, {}),
                                   *gradient->Loss(input, target, observed)};
    results.insert(results.end(), gradient->gradient().begin(), gradient->gradient().end());
    return results;
  }

  Network network;
  size_t batch_size;
  v1::Loss loss;
  bool regularized = false;
  std::vector<float> input, target, observed;
};

std::string Dense(size_t inputs, size_t hidden, const std::string& more, size_t outputs,
                  const std::string& output = "LINEAR") {
  return absl::StrCat("layers { name: 'a' dense { inputs: ", inputs, " outputs: ", hidden, " activation: TANH } } ",
                      more, "layers { name: 'z' dense { outputs: ", outputs, " activation: ", output,
                      " } } code_layer: 0");
}

TEST(Gradient, AnyNumberOfThreadsGivesTheSameBytes) {
  std::vector<LargeProblem> problems;
  problems.emplace_back(Dense(210, 300, "", 210), 170);
  problems.emplace_back(Dense(100, 90, "layers { name: 'r' dropout { rate: 0.3 } } ", 100), 1024);
  problems.emplace_back(Dense(210, 300, "", 210), 170);
  problems.back().regularized = true;
  problems.emplace_back(Dense(100, 60, "", 300, "ZERO_INFLATED_COUNTS"), 800, v1::ZERO_INFLATED_NEGATIVE_BINOMIAL);
  problems.emplace_back(R"(layers { name: "a" dense { inputs: 90 outputs: 70 activation: TANH } }
                           layers { name: "b" dense { outputs: 90 activation: LINEAR tied_to: "a" } } code_layer: 0)",
                        1400);
  problems.emplace_back(R"(layers { name: "c" convolution { input { height: 12 width: 12 channels: 3 } channels: 16
                             kernel { height: 3 width: 3 } padding { height: 1 width: 1 } activation: RELU } }
                           layers { name: "p" max_pool { size { height: 2 width: 2 } } }
                           layers { name: "t" transposed_convolution { channels: 3 kernel { height: 2 width: 2 }
                             stride { height: 2 width: 2 } activation: LINEAR } } code_layer: 1)",
                        300);
  for (size_t i = 0; i < problems.size(); ++i) {
    const std::vector<double> alone = problems[i].Run(nullptr);
    for (const size_t threads : {1, 2, 3, 4}) {
      ThreadTeam team(threads);
      for (int round = 0; round < 3; ++round) EXPECT_EQ(problems[i].Run(&team), alone) << i << " threads " << threads;
    }
  }
}

// Of some of the parameters; all would take minutes.
TEST(Gradient, OfManyTilesEqualsFiniteDifferences) {
  for (const auto& [text, batch] : {std::pair{Dense(210, 300, "", 210), 170},
                                    std::pair{std::string(R"(layers { name: "a" dense { inputs: 90 outputs: 70
                                        activation: TANH } } layers { name: "b" dense { outputs: 90 activation: LINEAR
                                        tied_to: "a" } } code_layer: 0)"),
                                              1400}}) {
    const LargeProblem p(text, static_cast<size_t>(batch));
    ThreadTeam team(3);
    auto gradient = *Gradient::Create(p.network, p.loss, p.batch_size, {}, Random(1), &team);
    const std::vector<double> parameters(p.network.parameters().begin(), p.network.parameters().end());
    ASSERT_NEAR(*gradient->Compute(p.input, p.target, p.observed),
                ReferenceLoss(p.network, parameters, p.loss, p.input, p.target, p.observed), 1e-5);
    double largest = 0;
    for (const float g : gradient->gradient()) largest = std::max(largest, std::abs(double{g}));
    for (size_t k = 0; k < parameters.size(); k += parameters.size() / 9) {
      constexpr double kStep = 1e-5;
      std::vector<double> moved = parameters;
      moved[k] += kStep;
      const double above = ReferenceLoss(p.network, moved, p.loss, p.input, p.target, p.observed);
      moved[k] -= 2 * kStep;
      const double below = ReferenceLoss(p.network, moved, p.loss, p.input, p.target, p.observed);
      EXPECT_NEAR(gradient->gradient()[k], (above - below) / (2 * kStep), 3e-5 * largest) << "parameter " << k;
    }
  }
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
