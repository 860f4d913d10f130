#include "engine/nn/network.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <algorithm>
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
  EXPECT_THAT(Refusal(spec), HasSubstr("layer 'layer_1': kind: expected dense, convolution, max_pool"));
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

// One layer after a convolution of 8 x 6 x 3 values.
std::string RefusalAfterConvolution(const std::string& layer) {
  v1::NetworkSpec spec;
  const std::string text = R"(layers { name: "c" convolution { input { height: 8 width: 6 channels: 2 } channels: 3
                                kernel { height: 3 width: 3 } padding { height: 1 width: 1 } activation: RELU } }
                              layers { name: "x" )" +
                           layer + " }";
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &spec));
  return Refusal(spec);
}

TEST(Network, RefusesShapesThatDoNotFitWithTheNumbers) {
  EXPECT_EQ(RefusalAfterConvolution("max_pool { size { height: 2 width: 4 } }"),
            "layer 'x': size.width: expected a divisor of 6 (the input's width), got 4");
  EXPECT_EQ(RefusalAfterConvolution("dense { inputs: 100 outputs: 3 activation: RELU }"),
            "layer 'x': inputs: expected 144 (the outputs of 'c'), got 100");
  EXPECT_EQ(RefusalAfterConvolution("max_pool { input { height: 6 width: 8 channels: 3 } }"),
            "layer 'x': input: expected 8 x 6 x 3 (height x width x channels of 'c'), got 6 x 8 x 3");
  EXPECT_EQ(RefusalAfterConvolution("convolution { channels: 2 kernel { height: 9 } activation: RELU }"),
            "layer 'x': kernel.height: expected at most 8 (the input's 8 and twice the padding), got 9");
  EXPECT_EQ(RefusalAfterConvolution("convolution { channels: 2 padding { width: 1 } activation: RELU }"),
            "layer 'x': padding.width: expected less than the kernel's 1, got 1");
  EXPECT_EQ(RefusalAfterConvolution("transposed_convolution { channels: 2 padding { width: 3 } activation: RELU }"),
            "layer 'x': kernel.width: expected outputs, got (6 - 1) x 1 + 1 - 2 x 3 of them");
  EXPECT_EQ(RefusalAfterConvolution("convolution { channels: 0 activation: RELU }"),
            "layer 'x': channels: expected 1 to 65536, got 0");
  EXPECT_EQ(RefusalAfterConvolution("convolution { channels: 60000 activation: RELU }"),
            "layer 'x': outputs: expected 1 to 65536, got 2880000");
  EXPECT_EQ(RefusalAfterConvolution("convolution { channels: 1 kernel { height: 4000000000 width: 4000000000 } "
                                    "padding { height: 3999999999 width: 3999999999 } activation: RELU }"),
            "layer 'x': outputs: expected 1 to 65536, got 4000000007");
  EXPECT_EQ(RefusalAfterConvolution("dropout { rate: 1 }"), "layer 'x': rate: expected a number in (0, 1), got 1");
  EXPECT_EQ(RefusalAfterConvolution("dense { outputs: 3 activation: RELU tied_to: 'c' }"),
            "layer 'x': tied_to: expected an earlier dense layer with weights of its own, got 'c'");
  EXPECT_EQ(RefusalAfterConvolution("dense { outputs: 30 activation: ZERO_INFLATED_COUNTS } } layers { name: 'y' "
                                    "dense { outputs: 3 activation: RELU }"),
            "layer 'x': activation: ZERO_INFLATED_COUNTS is for a last dense layer of three outputs a feature, got 30 "
            "outputs of layer 2 of 3");
  v1::NetworkSpec spec;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString("layers { name: 'd' dropout { rate: 0.5 } }", &spec));
  EXPECT_THAT(Refusal(spec), HasSubstr("layer 'd': dropout: expected a layer before it"));
}

TEST(Network, RefusesTiesOfUnequalShape) {
  v1::NetworkSpec spec = DenseSpec({4, 3, 2, 5}, v1::RELU, v1::LINEAR);
  spec.mutable_layers(2)->mutable_dense()->set_tied_to("layer_1");
  EXPECT_EQ(
      Refusal(spec),
      "layer 'layer_2': tied_to: expected 2 inputs and 3 outputs (the weights of 'layer_1', transposed), got 2 and "
      "5");
}

TEST(Network, BoundsWhatAllLayersGiveTogether) {
  // Pools of size 1 cost a file nothing and memory much.
  v1::NetworkSpec spec;
  for (int i = 0; i < 20; ++i) {
    v1::Layer* layer = spec.add_layers();
    layer->set_name("p" + std::to_string(i));
    layer->mutable_max_pool();
  }
  v1::TensorShape* input = spec.mutable_layers(0)->mutable_max_pool()->mutable_input();
  input->set_height(256);
  input->set_width(256);
  input->set_channels(1);
  EXPECT_EQ(Refusal(spec), "layer 'p16': expected at most 1048576 outputs of all layers together, got more");
}

TEST(Network, ATiedLayerHasItsOwnersWeightsAndABiasOfItsOwn) {
  v1::NetworkSpec spec = DenseSpec({4, 3, 4}, v1::RELU, v1::LINEAR);
  spec.mutable_layers(1)->mutable_dense()->set_tied_to("layer_0");
  const Network network = *Network::Create(spec);
  EXPECT_EQ(network.offsets(1).weights, network.offsets(0).weights);
  EXPECT_EQ(network.parameter_count(), 4u * 3 + 3 + 4);
}

TEST(Network, RoundsTheWeightsOfDenseLayersAlone) {
  v1::NetworkSpec spec;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
      "layers { name: 'c' convolution { input { height: 1 width: 4 channels: 1 } channels: 2 kernel { height: 1 width: "
      "3 } "
      "padding { width: 1 } activation: RELU } } layers { name: 'd' dense { outputs: 4 activation: LINEAR } }",
      &spec));
  Network network = *Network::Create(spec);
  constexpr float kOdd = 1 + 0x1p-9f;  // no bfloat16
  std::ranges::fill(network.parameters(), kOdd);
  network.parameters()[network.offsets(1).weights] = std::numeric_limits<float>::max();  // none is near
  network.RoundDenseWeights();
  EXPECT_EQ(network.parameters()[network.offsets(0).weights], kOdd);
  EXPECT_EQ(network.parameters()[network.offsets(1).bias], kOdd);
  EXPECT_EQ(network.parameters()[network.offsets(1).weights], std::numeric_limits<float>::max());
  for (size_t i = 1; i < network.shape(1).weights; ++i) {
    EXPECT_EQ(network.parameters()[network.offsets(1).weights + i], 1);
  }
}

}  // namespace
}  // namespace astray
