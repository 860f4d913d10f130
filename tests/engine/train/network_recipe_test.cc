#include "engine/train/network_recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/features/sequence.h"
#include "engine/nn/network.h"
#include "engine/train/recipe.h"

namespace astray {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// `text` has a name.
absl::StatusOr<v1::Recipe> CompleteText(const std::string& text, size_t features) {
  Dataset dataset;
  for (size_t i = 0; i < features; ++i) dataset.feature_names.push_back("f" + std::to_string(i));
  dataset.values.resize(400 * features);
  auto recipe = ParseRecipe(text, "recipe");
  EXPECT_TRUE(recipe.ok()) << recipe.status();
  return CompleteRecipe(*recipe, dataset);
}

absl::StatusOr<v1::Recipe> Complete(const std::string& text, size_t features) {
  return CompleteText("name: 'm' " + text, features);
}

Network Build(const std::string& text, size_t features) {
  const auto recipe = Complete(text, features);
  EXPECT_TRUE(recipe.ok()) << recipe.status();
  auto network = Network::Create(BuildNetworkSpec(*recipe, features * recipe->features().window()));
  EXPECT_TRUE(network.ok()) << network.status();
  // A recipe that is complete says the same again.
  const auto again = CompleteText(FormatRecipe(*recipe), features);
  EXPECT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(FormatRecipe(*again), FormatRecipe(*recipe));
  return *std::move(network);
}

std::string Refusal(const std::string& text, size_t features) {
  const auto recipe = Complete(text, features);
  EXPECT_EQ(recipe.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(recipe.status().message());
}

std::vector<std::string> Names(const Network& network) {
  std::vector<std::string> names;
  for (const v1::Layer& layer : network.spec().layers()) names.push_back(layer.name());
  return names;
}

std::vector<size_t> Outputs(const Network& network) {
  std::vector<size_t> outputs;
  for (size_t i = 0; i < network.layers(); ++i) outputs.push_back(network.shape(i).output.size());
  return outputs;
}

TEST(NetworkRecipe, PresetsNameNetworks) {
  EXPECT_THAT(Outputs(Build("features { window: 1 } network { preset: WIDE }", 30)), ElementsAre(256, 60, 256, 30));
  EXPECT_THAT(Outputs(Build("features { window: 1 }", 30)), ElementsAre(256, 60, 256, 30)) << "the default";
  EXPECT_THAT(Outputs(Build("features { window: 1 } network { preset: TAPERED }", 64)),
              ElementsAre(32, 16, 8, 16, 32, 64));
  EXPECT_THAT(Outputs(Build("features { window: 1 } network { preset: TAPERED }", 3)), ElementsAre(2, 3));
  EXPECT_THAT(Outputs(Build("features { window: 1 } network { preset: DENSE_512_64 }", 784)),
              ElementsAre(512, 64, 512, 784));
}

TEST(NetworkRecipe, TheConvolutionalPresetIsTheSeedsTwoLevels) {
  const Network image = Build(
      "features { window: 1 scaling: MIN_MAX shape { height: 28 width: 28 channels: 1 } } network { preset: "
      "CONVOLUTIONAL }",
      784);
  EXPECT_THAT(Names(image),
              ElementsAre("convolution_1", "pool_1", "convolution_2", "pool_2", "upsampling_1", "output"));
  EXPECT_EQ(image.shape(0).output, (TensorShape{28, 28, 32}));
  EXPECT_EQ(image.shape(2).output, (TensorShape{14, 14, 64}));
  EXPECT_EQ(image.shape(3).output, (TensorShape{7, 7, 64}));
  EXPECT_EQ(image.shape(4).output, (TensorShape{14, 14, 32}));
  EXPECT_EQ(image.shape(5).output, (TensorShape{28, 28, 1}));
  EXPECT_EQ(image.spec().code_layer(), 3u);
  EXPECT_EQ(image.shape(5).activation, v1::SIGMOID);
  // PyTorch's count for the same module.
  EXPECT_EQ(image.parameter_count(), 320u + 18496 + 8224 + 129);

  const Network window = Build("features { window: 20 } network { preset: CONVOLUTIONAL }", 8);
  EXPECT_EQ(window.shape(0).output, (TensorShape{1, 20, 32}));
  EXPECT_EQ(window.shape(3).output, (TensorShape{1, 5, 64}));
  EXPECT_EQ(window.shape(5).output, (TensorShape{1, 20, 8}));
}

TEST(NetworkRecipe, TiedDecodersAndDropoutFollowTheEncoder) {
  const Network network =
      Build("features { window: 1 } network { encoder: [ 20, 10, 4 ] tied: true dropout: 0.25 }", 30);
  EXPECT_THAT(Names(network), ElementsAre("encoder_1", "dropout_1", "encoder_2", "dropout_2", "code", "decoder_1",
                                          "dropout_3", "decoder_2", "dropout_4", "output"));
  EXPECT_EQ(network.shape(5).tied_to, 4u);
  EXPECT_EQ(network.shape(7).tied_to, 2u);
  EXPECT_EQ(network.shape(9).tied_to, 0u);
  EXPECT_EQ(network.spec().code_layer(), 4u);
  EXPECT_EQ(network.parameter_count(), 30u * 20 + 20 + 20 * 10 + 10 + 10 * 4 + 4 + 10 + 20 + 30);
}

TEST(NetworkRecipe, ListsOfLayersAreCompletedFromWhatReachesThem) {
  const Network network = Build(R"(features { window: 8 } network { activation: TANH
      layers { convolution { channels: 6 kernel { width: 3 } padding { width: 1 } } }
      layers { max_pool { size { width: 4 } } }
      layers { name: "middle" dense { outputs: 5 activation: SIGMOID } }
      layers { dropout { rate: 0.1 } }
      layers { dense {} } })",
                                3);
  EXPECT_THAT(Names(network), ElementsAre("layer_1", "layer_2", "middle", "layer_4", "layer_5"));
  EXPECT_THAT(Outputs(network), ElementsAre(48, 12, 5, 5, 24));
  EXPECT_EQ(network.spec().code_layer(), 2u) << "the fewest values, the first of them";
  EXPECT_EQ(network.shape(0).activation, v1::TANH);
  EXPECT_EQ(network.shape(2).activation, v1::SIGMOID);
  EXPECT_EQ(network.shape(4).activation, v1::LINEAR);
}

TEST(NetworkRecipe, CountsHaveThreeOutputsAFeature) {
  const Network network =
      Build("features { window: 1 scaling: LOG1P } network { encoder: 4 } loss: ZERO_INFLATED_NEGATIVE_BINOMIAL", 10);
  EXPECT_EQ(network.output_size(), 30u);
  EXPECT_EQ(network.reconstruction_size(), 10u);
}

TEST(NetworkRecipe, SequencesHaveTheirTransformsColumnsAndShape) {
  const OneHot places = *OneHot::Create(16);
  const Dataset letters{.feature_names = places.Places(), .values = std::vector<float>(64 * 400)};
  const auto complete = [&](const std::string& features, const Dataset& data) {
    return CompleteRecipe(*ParseRecipe("name: 'm' features { " + features + " }", "r"), data);
  };
  const auto recipe = complete("sequence { one_hot_places: 16 }", letters);
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  EXPECT_EQ(recipe->features().window(), 1u);
  EXPECT_EQ(VectorShapeOf(*recipe, 64), (TensorShape{1, 16, 4}));
  EXPECT_EQ(complete("sequence { kmer_letters: 3 }", letters).status().message(),
            "features.sequence: is for FASTA data, or columns called 'AAA' to 'TTT'");
  EXPECT_EQ(complete("sequence { kmer_letters: 9 }", letters).status().message(),
            "features.sequence.kmer_letters: expected 1 to 8, got 9");
  EXPECT_EQ(complete("sequence {}", letters).status().message(),
            "features.sequence: expected kmer_letters or one_hot_places, got neither");
  EXPECT_EQ(complete("window: 2 sequence { one_hot_places: 16 }", letters).status().message(),
            "features.window: expected 1 for sequences, got 2");
}

TEST(NetworkRecipe, ALikelihoodOfCountsNeedsCounts) {
  Dataset dataset{.feature_names = {"a", "b"}, .values = std::vector<float>(800, 3.0f)};
  dataset.values[7] = -1;
  EXPECT_EQ(CompleteRecipe(*ParseRecipe("name: 'm' features { window: 1 scaling: LOG1P } loss: "
                                        "ZERO_INFLATED_NEGATIVE_BINOMIAL",
                                        "r"),
                           dataset)
                .status()
                .message(),
            "loss: ZERO_INFLATED_NEGATIVE_BINOMIAL is of counts: column 'b' row 4: expected 0 or more, got -1");
}

TEST(NetworkRecipe, RefusesWhatCannotWorkWithLayerAndNumbers) {
  const std::string window = "features { window: 10 } ";
  EXPECT_EQ(Refusal(window + "network { preset: CONVOLUTIONAL }", 3),
            "network: layer 'pool_2': size.width: expected a divisor of 5 (the input's width), got 2");
  EXPECT_EQ(Refusal(window + "network { layers { dense { outputs: 4 } } layers { dense { outputs: 31 } } }", 3),
            "network: layer 'layer_2': expected 30 outputs (a vector's 30 values), got 31");
  EXPECT_EQ(Refusal(window + "network { layers { dense { inputs: 7 outputs: 4 } } layers { dense {} } }", 3),
            "network: layer 'layer_1': inputs: expected 30 (the values of a vector), got 7");
  EXPECT_EQ(Refusal(window + "network { layers { name: 'a' dense { outputs: 4 } } layers { name: 'b' dense { outputs: "
                             "5 } } layers { name: 'c' dense { tied_to: 'a' } } }",
                    3),
            "network: layer 'c': tied_to: expected 4 inputs and 30 outputs (the weights of 'a', transposed), got 5 and "
            "30");
  EXPECT_EQ(Refusal(window + "network { layers { dense { outputs: 4 } } layers { dense {} } code: 'x' }", 3),
            "network.code: expected the name of a layer, got 'x'");
  EXPECT_EQ(Refusal(window + "network { encoder: 4 preset: WIDE }", 3),
            "network: expected one of preset, encoder and layers, got more than one");
  EXPECT_EQ(Refusal(window + "network { layers { dense {} } tied: true }", 3),
            "network: tied and dropout are for an encoder of dense layers; in layers, say tied_to and dropout");
  EXPECT_EQ(Refusal(window + "network { encoder: 4 dropout: 1 }", 3),
            "network.dropout: expected a number in [0, 1), got 1");
  EXPECT_EQ(Refusal("features { window: 10 shape { height: 5 width: 5 channels: 1 } }", 3),
            "features.shape: expected 30 values (3 features x 10 rows), got 5 x 5 x 1");
  EXPECT_EQ(Refusal(window + "loss: ZERO_INFLATED_NEGATIVE_BINOMIAL", 3),
            "loss: ZERO_INFLATED_NEGATIVE_BINOMIAL is of counts, but features.scaling is STANDARD; use LOG1P");
  EXPECT_THAT(Refusal(window + "network { output_activation: ZERO_INFLATED_COUNTS }", 3),
              HasSubstr("network.output_activation: loss MEAN_SQUARED_ERROR and ZERO_INFLATED_COUNTS do not go"));
  EXPECT_EQ(Refusal(window + "network { encoder: [ 8, 4 ] } regularizer { contractive { weight: 1 } }", 3),
            "regularizer[0].contractive: needs an encoder of one dense layer, whose Jacobian is exact, got the code in "
            "layer 'code', number 2");
}

}  // namespace
}  // namespace astray
