#include "engine/nn/network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/testing/reference_network.h"

namespace astray {
namespace {

using testing::DenseSpec;
using ::testing::HasSubstr;

std::string Refusal(const v1::NetworkSpec& spec) {
  const auto network = Network::Create(spec);
  EXPECT_EQ(network.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(network.status().message());
}

TEST(Network, LaysTensorsOutOnCacheLines) {
  const Network network = *Network::Create(DenseSpec({3, 5, 3}, v1::RELU, v1::LINEAR));
  EXPECT_EQ(network.offsets(0).weights, 0u);
  EXPECT_EQ(network.offsets(0).bias, 16u);
  EXPECT_EQ(network.offsets(1).weights, 32u);
  EXPECT_EQ(network.offsets(1).bias, 48u);
  EXPECT_EQ(network.parameters().size(), 64u);
  EXPECT_EQ(network.parameter_count(), 3u * 5 + 5 + 5 * 3 + 3);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(network.parameters().data()) % 64, 0u);
}

TEST(Network, InitialisesWithinTheGlorotAndHeBounds) {
  Network network = *Network::Create(DenseSpec({40, 60, 40}, v1::RELU, v1::LINEAR));
  Random random(3);
  network.Initialise(random);
  double sum = 0, square = 0;
  for (size_t k = 0; k < 40 * 60; ++k) {
    const double w = network.parameters()[network.offsets(0).weights + k];
    EXPECT_LE(std::abs(w), std::sqrt(6.0 / 40));
    sum += w;
    square += w * w;
  }
  EXPECT_NEAR(sum / 2400, 0, 0.02);
  EXPECT_NEAR(square / 2400, 2.0 / 40, 0.005);  // He's variance 2 / fan_in
  for (size_t k = 0; k < 60; ++k) EXPECT_EQ(network.parameters()[network.offsets(0).bias + k], 0.0f);
}

TEST(Network, RefusesLayersThatDoNotChain) {
  v1::NetworkSpec spec = DenseSpec({4, 3, 4}, v1::RELU, v1::LINEAR);
  spec.mutable_layers(1)->mutable_dense()->set_inputs(9);
  EXPECT_EQ(Refusal(spec), "layer 'layer_1': inputs: expected 3 (the outputs of 'layer_0'), got 9");
}

TEST(Network, RefusesAbsurdSizesBeforeAllocating) {
  EXPECT_THAT(Refusal(DenseSpec({4, 4000000000u, 4}, v1::RELU, v1::LINEAR)),
              HasSubstr("layer 'layer_0': outputs: expected 1 to 65536, got 4000000000"));
  EXPECT_THAT(Refusal(DenseSpec({65536, 65536, 65536}, v1::RELU, v1::LINEAR)), HasSubstr("268435456 parameters"));
  EXPECT_THAT(Refusal(DenseSpec({4, 0, 4}, v1::RELU, v1::LINEAR)), HasSubstr("got 0"));
  v1::NetworkSpec many;
  for (int i = 0; i < 65; ++i) many.add_layers();
  EXPECT_THAT(Refusal(many), HasSubstr("expected 1 to 64 layers, got 65"));
}

TEST(Network, RefusesMissingAndUnknownParts) {
  EXPECT_THAT(Refusal({}), HasSubstr("layers: expected 1 to 64 layers, got 0"));
  v1::NetworkSpec spec = DenseSpec({4, 3, 4}, v1::RELU, v1::LINEAR);
  spec.mutable_layers(1)->clear_dense();
  EXPECT_THAT(Refusal(spec), HasSubstr("layer 'layer_1': kind: expected dense, got none"));
  spec = DenseSpec({4, 3, 4}, v1::ACTIVATION_UNSPECIFIED, v1::LINEAR);
  EXPECT_THAT(Refusal(spec), HasSubstr("layer 'layer_0': activation: expected"));
  spec = DenseSpec({4, 3, 4}, v1::RELU, v1::LINEAR);
  spec.mutable_layers(1)->set_name("layer_0");
  EXPECT_THAT(Refusal(spec), HasSubstr("layer 'layer_0': expected a name of its own"));
  spec = DenseSpec({4, 3, 4}, v1::RELU, v1::LINEAR);
  spec.set_code_layer(2);
  EXPECT_THAT(Refusal(spec), HasSubstr("code_layer: expected an index below 2"));
}

TEST(Network, RefusesParametersThatAreNotFinite) {
  Network network = *Network::Create(DenseSpec({3, 5, 3}, v1::RELU, v1::LINEAR));
  std::vector<float> parameters(network.parameters().size(), 0.5f);
  ASSERT_TRUE(network.SetParameters(parameters).ok());
  parameters[network.offsets(1).bias + 2] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(network.SetParameters(parameters).message(), "layer 'layer_1': bias[2]: expected a finite number, got nan");
  EXPECT_EQ(network.parameters()[network.offsets(1).bias + 2], 0.5f);
  parameters.pop_back();
  EXPECT_EQ(network.SetParameters(parameters).message(), "parameters: expected 64 numbers, got 63");
}

TEST(Network, CloneIsIndependent) {
  Network network = *Network::Create(DenseSpec({3, 5, 3}, v1::RELU, v1::LINEAR));
  const Network copy = network.Clone();
  network.parameters()[0] = 1.0f;
  EXPECT_EQ(copy.parameters()[0], 0.0f);
  EXPECT_EQ(copy.input_size(), 3u);
  EXPECT_EQ(copy.code_size(), 3u);
}

}  // namespace
}  // namespace astray
