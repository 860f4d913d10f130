#include "engine/nn/executor.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/testing/reference_network.h"

namespace astray {
namespace {

using testing::DenseSpec;
using testing::ReferenceForward;

v1::NetworkSpec Parse(const char* text) {
  v1::NetworkSpec spec;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &spec));
  return spec;
}

Network RandomNetwork(const v1::NetworkSpec& spec, uint64_t seed) {
  Network network = *Network::Create(spec);
  Random random(seed);
  network.Initialise(random);
  for (float& p : network.parameters()) p += static_cast<float>(0.01 * random.Normal());
  // Gaps between tensors stay zero in a real network.
  EXPECT_TRUE(network.SetParameters(std::vector<float>(network.parameters().begin(), network.parameters().end())).ok());
  return network;
}

std::vector<float> RandomRows(size_t rows, size_t width, uint64_t seed) {
  std::vector<float> values(rows * width);
  Random(seed).FillNormal(values);
  return values;
}

const std::vector<v1::NetworkSpec>& Specs() {
  static const auto* specs = new std::vector<v1::NetworkSpec>{
      DenseSpec({8, 256, 16, 256, 8}, v1::RELU, v1::LINEAR), DenseSpec({80, 256, 160, 256, 80}, v1::RELU, v1::LINEAR),
      DenseSpec({38, 64, 16, 64, 38}, v1::TANH, v1::LINEAR), DenseSpec({13, 7, 1, 7, 13}, v1::SIGMOID, v1::SIGMOID),
      DenseSpec({1, 3, 1}, v1::RELU, v1::LINEAR), DenseSpec({24, 64, 8, 64, 24}, v1::LEAKY_RELU, v1::LINEAR),
      DenseSpec({784, 512, 64, 512, 784}, v1::RELU, v1::SIGMOID),
      DenseSpec({550, 256, 256, 256, 550}, v1::RELU, v1::LINEAR), DenseSpec({100, 100}, v1::LINEAR, v1::TANH),
      // The two-level convolutional network over an image, and over a window of 20 rows of 8 sensors.
      Parse(R"(layers { name: "c1" convolution { input { height: 8 width: 8 channels: 1 } channels: 32
                 kernel { height: 3 width: 3 } padding { height: 1 width: 1 } activation: RELU } }
               layers { name: "p1" max_pool { size { height: 2 width: 2 } } }
               layers { name: "c2" convolution { channels: 64 kernel { height: 3 width: 3 }
                 padding { height: 1 width: 1 } activation: RELU } }
               layers { name: "p2" max_pool { size { height: 2 width: 2 } } }
               layers { name: "t1" transposed_convolution { channels: 32 kernel { height: 2 width: 2 }
                 stride { height: 2 width: 2 } activation: RELU } }
               layers { name: "t2" transposed_convolution { channels: 1 kernel { height: 2 width: 2 }
                 stride { height: 2 width: 2 } activation: SIGMOID } } code_layer: 3)"),
      Parse(R"(layers { name: "c1" convolution { input { height: 1 width: 20 channels: 8 } channels: 32
                 kernel { width: 5 } padding { width: 2 } activation: TANH } }
               layers { name: "p1" max_pool { size { width: 2 } } }
               layers { name: "d" dropout { rate: 0.5 } }
               layers { name: "t1" transposed_convolution { channels: 8 kernel { width: 4 } stride { width: 2 }
                 padding { width: 1 } activation: LINEAR } } code_layer: 2)"),
      Parse(R"(layers { name: "a" dense { inputs: 30 outputs: 12 activation: RELU } }
               layers { name: "b" dense { outputs: 5 activation: LEAKY_RELU } }
               layers { name: "c" dense { outputs: 12 activation: RELU tied_to: "b" } }
               layers { name: "d" dense { outputs: 30 activation: LINEAR tied_to: "a" } } code_layer: 1)"),
      Parse(R"(layers { name: "a" dense { inputs: 7 outputs: 20 activation: RELU } }
               layers { name: "b" dense { outputs: 21 activation: ZERO_INFLATED_COUNTS } })")};
  return *specs;
}

TEST(Executor, EqualsTheDoublePrecisionReference) {
  for (const v1::NetworkSpec& spec : Specs()) {
    const Network network = RandomNetwork(spec, 7);
    const std::vector<double> parameters(network.parameters().begin(), network.parameters().end());
    auto executor = *Executor::Create(network);
    constexpr size_t kRows = 11;
    const std::vector<float> input = RandomRows(kRows, network.input_size(), 3);
    std::vector<float> output(kRows * network.output_size()), code(kRows * network.code_size());
    ASSERT_TRUE(executor->Forward(kRows, input, output, code).ok());
    for (size_t r = 0; r < kRows; ++r) {
      const auto expected = ReferenceForward(network, parameters,
                                             std::span(input).subspan(r * network.input_size(), network.input_size()));
      for (size_t j = 0; j < network.output_size(); ++j) {
        EXPECT_NEAR(output[r * network.output_size() + j], expected.back()[j],
                    2e-5 * (1 + std::abs(expected.back()[j])))
            << spec.layers(0).ShortDebugString() << " row " << r << " output " << j;
      }
      for (size_t j = 0; j < network.code_size(); ++j) {
        const double value = expected[network.spec().code_layer()][j];
        EXPECT_NEAR(code[r * network.code_size() + j], value, 2e-5 * (1 + std::abs(value)));
      }
    }
  }
}

TEST(Executor, ARowsOutputDoesNotDependOnItsBatchOrPlace) {
  for (const v1::NetworkSpec& spec : Specs()) {
    const Network network = RandomNetwork(spec, 11);
    auto executor = *Executor::Create(network);
    constexpr size_t kRows = 203;
    const size_t in = network.input_size(), out = network.output_size();
    const std::vector<float> input = RandomRows(kRows, in, 5);
    std::vector<float> whole(kRows * out), piece(kRows * out);
    ASSERT_TRUE(executor->Forward(kRows, input, whole).ok());
    for (const size_t step : {size_t{1}, size_t{2}, size_t{7}, size_t{8}, size_t{9}, size_t{64}, size_t{65}}) {
      for (size_t row = 0; row < kRows; row += step) {
        const size_t count = std::min(step, kRows - row);
        ASSERT_TRUE(executor->Forward(count, std::span(input).subspan(row * in, count * in), piece).ok());
        ASSERT_EQ(std::memcmp(piece.data(), whole.data() + row * out, count * out * sizeof(float)), 0)
            << "inputs " << in << " pieces of " << step << " at row " << row;
      }
    }
  }
}

TEST(Executor, RunsOnAnotherThreadThanTheOneThatMadeIt) {
  const Network network = RandomNetwork(Specs()[1], 1);
  auto executor = *Executor::Create(network);
  const std::vector<float> input = RandomRows(100, network.input_size(), 1);
  std::vector<float> here(100 * network.output_size()), there(here.size());
  ASSERT_TRUE(executor->Forward(100, input, here).ok());
  std::thread([&] { ASSERT_TRUE(executor->Forward(100, input, there).ok()); }).join();
  EXPECT_EQ(here, there);
}

TEST(Executor, NoRowsIsNoWork) {
  const Network network = RandomNetwork(Specs()[0], 1);
  EXPECT_TRUE((*Executor::Create(network))->Forward(0, {}, {}).ok());
}

}  // namespace
}  // namespace astray
