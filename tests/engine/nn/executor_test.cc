#include "engine/nn/executor.h"

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

struct Shape {
  std::vector<uint32_t> sizes;
  v1::Activation hidden, output;
};

Network RandomNetwork(const Shape& shape, uint64_t seed) {
  Network network = *Network::Create(DenseSpec(shape.sizes, shape.hidden, shape.output));
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

const std::vector<Shape>& Shapes() {
  static const auto* shapes = new std::vector<Shape>{{{8, 256, 16, 256, 8}, v1::RELU, v1::LINEAR},
                                                     {{80, 256, 160, 256, 80}, v1::RELU, v1::LINEAR},
                                                     {{38, 64, 16, 64, 38}, v1::TANH, v1::LINEAR},
                                                     {{13, 7, 1, 7, 13}, v1::SIGMOID, v1::SIGMOID},
                                                     {{1, 3, 1}, v1::RELU, v1::LINEAR},
                                                     {{24, 64, 8, 64, 24}, v1::LEAKY_RELU, v1::LINEAR},
                                                     {{784, 512, 64, 512, 784}, v1::RELU, v1::SIGMOID},
                                                     {{550, 256, 256, 256, 550}, v1::RELU, v1::LINEAR},
                                                     {{100, 100}, v1::LINEAR, v1::TANH}};
  return *shapes;
}

TEST(Executor, EqualsTheDoublePrecisionReference) {
  for (const Shape& shape : Shapes()) {
    const Network network = RandomNetwork(shape, 7);
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
            << "inputs " << shape.sizes.front() << " row " << r << " output " << j;
      }
      for (size_t j = 0; j < network.code_size(); ++j) {
        const double value = expected[network.spec().code_layer()][j];
        EXPECT_NEAR(code[r * network.code_size() + j], value, 2e-5 * (1 + std::abs(value)));
      }
    }
  }
}

TEST(Executor, ARowsOutputDoesNotDependOnItsBatchOrPlace) {
  for (const Shape& shape : Shapes()) {
    const Network network = RandomNetwork(shape, 11);
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
  const Network network = RandomNetwork(Shapes()[1], 1);
  auto executor = *Executor::Create(network);
  const std::vector<float> input = RandomRows(100, network.input_size(), 1);
  std::vector<float> here(100 * network.output_size()), there(here.size());
  ASSERT_TRUE(executor->Forward(100, input, here).ok());
  std::thread([&] { ASSERT_TRUE(executor->Forward(100, input, there).ok()); }).join();
  EXPECT_EQ(here, there);
}

TEST(Executor, NoRowsIsNoWork) {
  const Network network = RandomNetwork(Shapes()[0], 1);
  EXPECT_TRUE((*Executor::Create(network))->Forward(0, {}, {}).ok());
}

}  // namespace
}  // namespace astray
