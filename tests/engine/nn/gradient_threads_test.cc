// Gradients that a team of threads computes in tiles.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/thread_team.h"
#include "engine/nn/gradient.h"
#include "tests/engine/nn/gradient_problem.h"
#include "tests/testing/reference_network.h"

namespace astray {
namespace {

using testing::ReferenceLoss;

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

}  // namespace
}  // namespace astray
