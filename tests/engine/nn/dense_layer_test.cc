#include "engine/nn/dense_layer.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <tuple>
#include <vector>

#include "hwy/targets.h"
#include "tests/testing/reference_network.h"

namespace astray {
namespace {

// How weights are read: as floats, as pairs of bfloat16 numbers, on tile units.
enum class Weights { kFloats, kPairs, kTiles };

// With every kernel that this machine can run, named by Highway's target: that one and those below it are allowed.
class DenseLayerOn : public ::testing::TestWithParam<std::tuple<int64_t, Weights>> {
 protected:
  DenseLayerOn() { Allow(hwy::SupportedTargets() & ~(target() - 1)); }
  ~DenseLayerOn() override { Allow(0); }

  int64_t target() const { return std::get<0>(GetParam()); }
  Weights weights() const { return std::get<1>(GetParam()); }

  DenseLayer LayerOf(const Network& network, size_t index = 0) const {
    return DenseLayer(network, index, weights() == Weights::kTiles);
  }

  Network RandomNetwork(const std::vector<uint32_t>& sizes, v1::Activation activation) {
    Network network = *Network::Create(testing::DenseSpec(sizes, activation, activation));
    Random random(7);
    network.Initialise(random);
    if (weights() != Weights::kFloats) network.RoundDenseWeights();
    for (size_t i = 0; i < network.layers(); ++i) {
      random.FillNormal(network.parameters().subspan(network.offsets(i).bias, network.shape(i).biases));
    }
    return network;
  }

 private:
  // 0: what the machine has.
  static void Allow(int64_t targets) {
    hwy::SetSupportedTargetsForTest(targets);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
};

std::vector<float> RandomRows(size_t rows, size_t width) {
  std::vector<float> values(rows * width);
  Random(3).FillNormal(values);
  return values;
}

std::vector<float> RunLayer(const DenseLayer& layer, size_t rows, size_t inputs, size_t outputs, const float* x) {
  std::vector<float> y(rows * outputs);
  layer.Run(rows, x, inputs, y.data(), outputs);
  return y;
}

// Up to weights that the second-level cache does not hold.
const std::vector<std::vector<uint32_t>>& Sizes() {
  static const std::vector<std::vector<uint32_t>> sizes = {
      {1, 1},   {3, 1},    {1, 17},   {7, 5},    {38, 64},   {64, 16},  {64, 38},   {100, 130}, {13, 56},
      {33, 72}, {513, 33}, {784, 50}, {16, 300}, {1100, 71}, {32, 128}, {256, 129}, {512, 15},  {1101, 241}};
  return sizes;
}

TEST_P(DenseLayerOn, EqualsTheDoublePrecisionReference) {
  for (const v1::Activation activation : {v1::LINEAR, v1::RELU, v1::LEAKY_RELU, v1::TANH, v1::SIGMOID}) {
    for (const std::vector<uint32_t>& sizes : Sizes()) {
      const Network network = RandomNetwork(sizes, activation);
      const std::vector<double> parameters(network.parameters().begin(), network.parameters().end());
      constexpr size_t kRows = 29;
      const std::vector<float> x = RandomRows(kRows, sizes[0]);
      const std::vector<float> y = RunLayer(LayerOf(network), kRows, sizes[0], sizes[1], x.data());
      for (size_t r = 0; r < kRows; ++r) {
        const auto expected =
            testing::ReferenceForward(network, parameters, std::span(x).subspan(r * sizes[0], sizes[0])).back();
        for (size_t j = 0; j < sizes[1]; ++j) {
          ASSERT_NEAR(y[r * sizes[1] + j], expected[j], 1e-5 * (1 + std::abs(expected[j])))
              << v1::Activation_Name(activation) << ", " << sizes[0] << " to " << sizes[1] << ", row " << r
              << ", output " << j;
        }
      }
    }
  }
}

TEST_P(DenseLayerOn, ARowHasTheSameBitsInEveryBatch) {
  for (const v1::Activation activation : {v1::LEAKY_RELU, v1::TANH}) {
    for (const std::vector<uint32_t>& sizes : Sizes()) {
      const DenseLayer layer = LayerOf(RandomNetwork(sizes, activation));
      constexpr size_t kRows = 61;
      const std::vector<float> x = RandomRows(kRows, sizes[0]);
      const std::vector<float> whole = RunLayer(layer, kRows, sizes[0], sizes[1], x.data());
      for (size_t rows = 1; rows <= 27; ++rows) {
        for (size_t row = 0; row + rows <= kRows; row += rows) {
          const std::vector<float> part = RunLayer(layer, rows, sizes[0], sizes[1], x.data() + row * sizes[0]);
          ASSERT_EQ(std::memcmp(part.data(), whole.data() + row * sizes[1], part.size() * sizeof(float)), 0)
              << sizes[0] << " to " << sizes[1] << ", " << rows << " rows at " << row;
        }
      }
    }
  }
}

// What makes the bits the same on machines of other vector widths, too: one rounding a step, inputs in order. Small
// layers of at most 16 outputs, or at most 8 beyond a multiple of 16, have a sum of the even and one of the odd inputs.
TEST_P(DenseLayerOn, SumsFromTheBiasOverTheInputsInOrder) {
  if (target() > HWY_AVX2) GTEST_SKIP() << "no fused multiply-add";
  if (weights() == Weights::kTiles) GTEST_SKIP() << "tile units add in another order";
  const std::vector<std::vector<uint32_t>> of_two_sums = {{1, 1},   {3, 1},   {1, 17},  {7, 5},   {64, 16},
                                                          {64, 38}, {13, 56}, {33, 72}, {512, 15}};
  for (const std::vector<uint32_t>& sizes : Sizes()) {
    const Network network = RandomNetwork(sizes, v1::LINEAR);
    constexpr size_t kRows = 13;
    const std::vector<float> x = RandomRows(kRows, sizes[0]);
    const std::vector<float> y = RunLayer(LayerOf(network), kRows, sizes[0], sizes[1], x.data());
    const float* weights = network.parameters().data() + network.offsets(0).weights;
    const float* bias = network.parameters().data() + network.offsets(0).bias;
    const size_t sums = std::ranges::count(of_two_sums, sizes) > 0 ? 2 : 1;
    for (size_t r = 0; r < kRows; ++r) {
      for (size_t j = 0; j < sizes[1]; ++j) {
        float sum[2] = {bias[j], 0};
        for (size_t k = 0; k < sizes[0]; ++k) {
          sum[k % sums] = std::fma(weights[j * sizes[0] + k], x[r * sizes[0] + k], sum[k % sums]);
        }
        ASSERT_EQ(y[r * sizes[1] + j], sum[0] + sum[1])
            << sizes[0] << " to " << sizes[1] << ", row " << r << ", output " << j;
      }
    }
  }
}

// Nothing is rounded before the sums.
TEST_P(DenseLayerOn, TakesEveryBitOfAnInput) {
  constexpr uint32_t kWidth = 130;
  Network network = *Network::Create(testing::DenseSpec({kWidth, kWidth}, v1::LINEAR, v1::LINEAR));
  const auto weights = network.parameters().subspan(network.offsets(0).weights, kWidth * kWidth);
  for (size_t j = 0; j < kWidth; ++j) weights[j * kWidth + j] = 1;
  const DenseLayer layer = LayerOf(network);
  for (const size_t rows : {size_t{1}, size_t{7}, size_t{16}, size_t{40}}) {
    std::vector<float> x = RandomRows(rows, kWidth);
    for (size_t i = 0; i < x.size(); ++i) x[i] = std::ldexp(x[i], static_cast<int>(i % 200) - 100);
    EXPECT_EQ(RunLayer(layer, rows, kWidth, kWidth, x.data()), x) << rows << " rows";
  }
}

TEST_P(DenseLayerOn, WhatIsNoFiniteNumberStaysInItsRow) {
  constexpr size_t kRows = 21;
  const std::vector<float> bad = {INFINITY, -INFINITY, NAN, std::bit_cast<float>(0x7f800001)};
  for (const auto& [inputs, outputs, place] : {std::tuple{150u, 70u, 3u}, {15u, 5u, 3u}, {15u, 5u, 14u}}) {
    const Network network = RandomNetwork({inputs, outputs}, v1::LINEAR);
    const DenseLayer layer = LayerOf(network);
    std::vector<float> x = RandomRows(kRows, inputs);
    const std::vector<float> expected = RunLayer(layer, kRows, inputs, outputs, x.data());
    for (size_t i = 0; i < bad.size(); ++i) x[5 * i * inputs + place] = bad[i];
    const std::vector<float> y = RunLayer(layer, kRows, inputs, outputs, x.data());
    const float* weights = network.parameters().data() + network.offsets(0).weights;
    for (size_t r = 0; r < kRows; ++r) {
      for (size_t j = 0; j < outputs; ++j) {
        const float value = y[r * outputs + j];
        if (r % 5 != 0 || r / 5 >= bad.size()) {
          ASSERT_EQ(value, expected[r * outputs + j]) << inputs << " inputs, row " << r;
        } else if (std::isinf(bad[r / 5])) {
          ASSERT_EQ(value, bad[r / 5] * weights[j * inputs + place]) << inputs << " inputs, row " << r;
        } else {
          ASSERT_TRUE(std::isnan(value)) << inputs << " inputs, row " << r;
        }
      }
    }
  }
}

TEST_P(DenseLayerOn, ReadsAndWritesByStrideAndNothingElse) {
  for (const v1::Activation activation : {v1::RELU, v1::SIGMOID}) {
    for (const std::vector<uint32_t>& sizes : Sizes()) {
      const DenseLayer layer = LayerOf(RandomNetwork(sizes, activation));
      const size_t x_stride = sizes[0] + 3, y_stride = sizes[1] + 5;
      for (const size_t rows : {size_t{1}, size_t{8}, size_t{25}}) {
        const std::vector<float> x = RandomRows(rows, sizes[0]);
        const std::vector<float> expected = RunLayer(layer, rows, sizes[0], sizes[1], x.data());
        std::vector<float> wide(rows * x_stride, NAN), y(rows * y_stride, -7.0f);
        for (size_t r = 0; r < rows; ++r) std::copy_n(x.data() + r * sizes[0], sizes[0], wide.data() + r * x_stride);
        layer.Run(rows, wide.data(), x_stride, y.data(), y_stride);
        for (size_t r = 0; r < rows; ++r) {
          for (size_t j = 0; j < y_stride; ++j) {
            ASSERT_EQ(y[r * y_stride + j], j < sizes[1] ? expected[r * sizes[1] + j] : -7.0f);
          }
        }
      }
    }
  }
}

// Floats whose last one ends where memory does: sanitizers do not see what assembly reads.
class FloatsAtTheEnd {
 public:
  explicit FloatsAtTheEnd(size_t count) : page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))) {
    const size_t bytes = count * sizeof(float);
    size_ = (bytes + page_ - 1) / page_ * page_;
    begin_ =
        static_cast<char*>(mmap(nullptr, size_ + page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (begin_ == MAP_FAILED || mprotect(begin_ + size_, page_, PROT_NONE) != 0) std::abort();
    floats_ = reinterpret_cast<float*>(begin_ + size_ - bytes);
  }
  ~FloatsAtTheEnd() { munmap(begin_, size_ + page_); }
  FloatsAtTheEnd(const FloatsAtTheEnd&) = delete;
  FloatsAtTheEnd& operator=(const FloatsAtTheEnd&) = delete;
  float* data() { return floats_; }

 private:
  const size_t page_;
  size_t size_;
  char* begin_;
  float* floats_;
};

TEST_P(DenseLayerOn, ReadsAndWritesNothingBehindItsRows) {
  for (const std::vector<uint32_t>& sizes : Sizes()) {
    const DenseLayer layer = LayerOf(RandomNetwork(sizes, v1::RELU));
    for (const size_t rows : {1, 2, 5, 6, 10, 11, 16, 17}) {
      const std::vector<float> x = RandomRows(rows, sizes[0]);
      FloatsAtTheEnd input(x.size()), output(rows * sizes[1]);
      std::ranges::copy(x, input.data());
      layer.Run(rows, input.data(), sizes[0], output.data(), sizes[1]);
      const std::vector<float> expected = RunLayer(layer, rows, sizes[0], sizes[1], x.data());
      EXPECT_EQ(std::memcmp(output.data(), expected.data(), expected.size() * sizeof(float)), 0);
    }
  }
}

TEST_P(DenseLayerOn, TakesTiedWeightsTransposed) {
  v1::NetworkSpec spec = testing::DenseSpec({30, 12, 30}, v1::RELU, v1::LINEAR);
  spec.mutable_layers(1)->mutable_dense()->set_tied_to(spec.layers(0).name());
  Network network = *Network::Create(spec);
  Random random(1);
  network.Initialise(random);
  const std::vector<float> x = RandomRows(1, 12);
  const std::vector<float> y = RunLayer(LayerOf(network, 1), 1, 12, 30, x.data());
  const float* weights = network.parameters().data() + network.offsets(0).weights;
  for (size_t j = 0; j < 30; ++j) {
    double sum = 0;
    for (size_t k = 0; k < 12; ++k) sum += weights[k * 30 + j] * x[k];
    EXPECT_NEAR(y[j], sum, 1e-5);
  }
}

TEST_P(DenseLayerOn, NoRowsIsNoWork) { LayerOf(RandomNetwork({5, 3}, v1::RELU)).Run(0, nullptr, 5, nullptr, 3); }

std::vector<std::tuple<int64_t, Weights>> Kernels() {
  std::vector<std::tuple<int64_t, Weights>> kernels;
  for (int64_t left = hwy::SupportedTargets(); left != 0; left &= left - 1) {
    const int64_t target = left & -left;
    kernels.emplace_back(target, Weights::kFloats);
    kernels.emplace_back(target, Weights::kPairs);
    if (target <= HWY_AVX3 && DenseLayer::HasTiles()) kernels.emplace_back(target, Weights::kTiles);
  }
  return kernels;
}

std::string NameOf(const ::testing::TestParamInfo<DenseLayerOn::ParamType>& info) {
  const auto [target, weights] = info.param;
  constexpr const char* kNames[] = {"_floats", "_pairs", "_tiles"};
  return hwy::TargetName(target) + std::string(kNames[static_cast<size_t>(weights)]);
}

INSTANTIATE_TEST_SUITE_P(Machine, DenseLayerOn, ::testing::ValuesIn(Kernels()), NameOf);

}  // namespace
}  // namespace astray
