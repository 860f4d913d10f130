#include "engine/detect/normal_subspace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "tests/engine/detect/small_detector.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

constexpr size_t kWidth = 21;

std::vector<float> RandomWindow(uint64_t seed) {
  Random random(seed);
  std::vector<float> window;
  for (size_t j = 0; j < kWidth; ++j) window.push_back(static_cast<float>(2 * random.Normal()));
  return window;
}

// The header's formula, with matrices.
double DistanceByDefinition(const v1::SubspaceScale& scale, const std::vector<float>& window,
                            const std::vector<float>& observed) {
  const auto vector = [](const auto& values) {
    Eigen::VectorXd result(kWidth);
    for (size_t j = 0; j < kWidth; ++j) result[static_cast<Eigen::Index>(j)] = values[static_cast<int>(j)];
    return result;
  };
  Eigen::MatrixXd components(kWidth, scale.component_size() / kWidth);
  for (int i = 0; i < scale.component_size(); ++i) components.reshaped()[i] = scale.component(i);
  const Eigen::VectorXd centred = vector(window) - vector(scale.mean());
  const Eigen::ArrayXd off = (centred - components * (components.transpose() * centred)).array();
  const Eigen::ArrayXd there = vector(observed).array();
  return (there * off.square() / vector(scale.variance()).array()).sum() / there.sum();
}

TEST(NormalSubspace, MeasuresWhatLiesOffIt) {
  NormalSubspace::Scratch scratch;
  for (const size_t components : {0, 1, 3, 8, 9}) {
    const v1::SubspaceScale scale = SmallSubspace(kWidth, components);
    ASSERT_TRUE(CheckSubspaceScale(scale, kWidth).ok());
    const NormalSubspace subspace(scale);
    for (uint64_t seed = 1; seed < 5; ++seed) {
      const std::vector<float> window = RandomWindow(seed);
      std::vector<float> observed(kWidth, 1);
      const double expected = DistanceByDefinition(scale, window, observed);
      EXPECT_NEAR(subspace.SquaredDistance(window.data(), nullptr, &scratch), expected, 1e-12 * expected);
      EXPECT_NEAR(subspace.SquaredDistance(window.data(), observed.data(), &scratch), expected, 1e-12 * expected);
      observed[2] = observed[20] = 0;
      const double fewer = DistanceByDefinition(scale, window, observed);
      EXPECT_NEAR(subspace.SquaredDistance(window.data(), observed.data(), &scratch), fewer, 1e-12 * fewer);
    }
  }
}

TEST(NormalSubspace, KnowsNothingOfAWindowOfNothing) {
  NormalSubspace::Scratch scratch;
  const std::vector<float> nothing(kWidth, 0);
  EXPECT_TRUE(std::isnan(
      NormalSubspace(SmallSubspace(kWidth, 2)).SquaredDistance(RandomWindow(1).data(), nothing.data(), &scratch)));
}

TEST(NormalSubspace, IsFiniteWhateverPassesTheCheck) {
  const float largest = std::numeric_limits<float>::max();
  v1::SubspaceScale scale;
  for (size_t j = 0; j < kWidth; ++j) {
    scale.add_mean(-largest);
    scale.add_variance(std::numeric_limits<float>::denorm_min());
    for (int c = 0; c < 2; ++c) scale.add_component(largest);
  }
  ASSERT_TRUE(CheckSubspaceScale(scale, kWidth).ok());
  NormalSubspace::Scratch scratch;
  const std::vector<float> window(kWidth, 1e4f);
  const double distance = NormalSubspace(scale).SquaredDistance(window.data(), nullptr, &scratch);
  EXPECT_TRUE(std::isfinite(distance)) << distance;
}

TEST(NormalSubspace, RefusesAScaleThatDoesNotFit) {
  const auto refused = [](const std::function<void(v1::SubspaceScale&)>& edit, const char* message) {
    v1::SubspaceScale scale = SmallSubspace(kWidth, 2);
    edit(scale);
    const absl::Status status = CheckSubspaceScale(scale, kWidth);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  };
  refused([](auto& scale) { scale.add_mean(0); }, "subspace: mean: expected 21 values, got 22");
  refused([](auto& scale) { scale.clear_variance(); }, "subspace: variance: expected 21 values, got 0");
  refused([](auto& scale) { scale.add_component(0); }, "subspace: component: expected a multiple of 21 values, got 43");
  refused([](auto& scale) { scale.mutable_component()->Resize(65 * kWidth, 0); },
          "subspace: component: expected at most 64 components and 262144 values, got 65 and 1365");
  refused([](auto& scale) { scale.set_variance(3, 0); },
          "subspace: variance 3: expected a finite number above 0, got 0");
  refused([](auto& scale) { scale.set_mean(4, std::numeric_limits<float>::infinity()); },
          "subspace: mean 4: expected a finite number, got inf");
  refused([](auto& scale) { scale.set_component(5, std::numeric_limits<float>::quiet_NaN()); },
          "subspace: component 5: expected a finite number, got nan");
  const absl::Status wide =
      CheckSubspaceScale(SmallSubspace(kMaxSubspaceValues / 4 + 1, 4), kMaxSubspaceValues / 4 + 1);
  EXPECT_THAT(std::string(wide.message()), HasSubstr("got 4 and 262148"));
}

}  // namespace
}  // namespace astray
