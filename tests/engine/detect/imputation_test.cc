#include "engine/detect/imputation.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <algorithm>
#include <vector>

#include "engine/base/random.h"
#include "engine/nn/network.h"

namespace astray {
namespace {

constexpr size_t kWidth = 4;

// Far from what these networks come to.
Imputer Unbounded() {
  Imputer imputer;
  static const std::vector<float> low(kWidth, -1e6f), high(kWidth, 1e6f);
  imputer.SetRange(low, high);
  return imputer;
}

// r(x) = W x + b of one linear layer.
Network Linear(const Eigen::Matrix4d& w, const Eigen::Vector4d& b) {
  v1::NetworkSpec spec;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(
      "layers { name: 'l' dense { inputs: 4 outputs: 4 activation: LINEAR } }", &spec));
  Network network = *Network::Create(spec);
  for (Eigen::Index i = 0; i < 4; ++i) {
    for (Eigen::Index j = 0; j < 4; ++j)
      network.parameters()[static_cast<size_t>(4 * i + j)] = static_cast<float>(w(i, j));
    network.parameters()[network.offsets(0).bias + static_cast<size_t>(i)] = static_cast<float>(b(i));
  }
  return network;
}

// A map that draws together, so that there is one fixed point.
struct Contraction {
  Contraction() {
    Random random(1);
    for (auto& value : w.reshaped()) value = random.Normal();
    w *= 0.6 / w.operatorNorm();
    for (auto& value : b) value = random.Normal();
  }
  Eigen::Matrix4d w;
  Eigen::Vector4d b;
};

// Missing entries m, observed o: x_m = W_mm x_m + W_mo x_o + b_m is a linear system.
TEST(Imputer, FindsTheFixedPointOfTheMissingEntries) {
  const Contraction map;
  const Network network = Linear(map.w, map.b);
  auto executor = *Executor::Create(network);
  Imputer imputer = Unbounded();
  for (unsigned pattern = 0; pattern < 16; ++pattern) {
    std::vector<float> values = {1, -2, 0.5f, 3}, observed(4);
    std::vector<Eigen::Index> missing;
    Eigen::Vector4d x(1, -2, 0.5, 3);
    for (Eigen::Index j = 0; j < 4; ++j) {
      const bool is_missing = (pattern >> j) & 1;
      observed[static_cast<size_t>(j)] = is_missing ? 0.0f : 1.0f;
      if (is_missing) missing.push_back(j);
      if (is_missing) x(j) = 0;
    }
    const auto count = static_cast<Eigen::Index>(missing.size());
    Eigen::MatrixXd a = Eigen::MatrixXd::Identity(count, count);
    Eigen::VectorXd right(count);
    for (Eigen::Index i = 0; i < count; ++i) {
      for (Eigen::Index j = 0; j < count; ++j)
        a(i, j) -= map.w(missing[static_cast<size_t>(i)], missing[static_cast<size_t>(j)]);
      right(i) = map.w.row(missing[static_cast<size_t>(i)]).dot(x) + map.b(missing[static_cast<size_t>(i)]);
    }
    const Eigen::VectorXd solution = a.fullPivLu().solve(right);
    std::vector<ImputationOutcome> outcomes(1);
    const std::vector<float> before = values;
    ASSERT_TRUE(imputer.Impute(*executor, kWidth, observed, values, outcomes).ok());
    EXPECT_TRUE(outcomes[0].converged);
    EXPECT_EQ(outcomes[0].iterations == 0, pattern == 0);
    for (Eigen::Index i = 0; i < count; ++i) {
      EXPECT_NEAR(values[static_cast<size_t>(missing[static_cast<size_t>(i)])], solution(i), 3e-3)
          << "pattern " << pattern;
    }
    for (size_t j = 0; j < 4; ++j) {
      if (observed[j] == 1) {
        EXPECT_EQ(values[j], before[j]);
      }
    }
  }
}

TEST(Imputer, AGuessThatRunsAwayStopsAtTheRangeOfTraining) {
  // r(x) = 3 x: every step leads away from 0.
  const Network network = Linear(3 * Eigen::Matrix4d::Identity(), Eigen::Vector4d::Zero());
  auto executor = *Executor::Create(network);
  std::vector<float> values = {0.5f, 5, 0, 0};
  std::vector<ImputationOutcome> outcomes(1);
  Imputer imputer;
  const std::vector<float> low(kWidth, -10), high(kWidth, 20);
  imputer.SetRange(low, high);
  ASSERT_TRUE(imputer.Impute(*executor, kWidth, std::vector<float>{0, 1, 1, 1}, values, outcomes).ok());
  EXPECT_TRUE(outcomes[0].converged);
  EXPECT_NEAR(values[0], 20, 1e-3);
  EXPECT_EQ(values[1], 5);
}

TEST(Imputer, SaysWhereItDoesNotConverge) {
  // r(x) = -4 x swings from one end of the range to the other, whatever the step.
  const Network network = Linear(-4 * Eigen::Matrix4d::Identity(), Eigen::Vector4d::Zero());
  auto executor = *Executor::Create(network);
  std::vector<float> values = {0.5f, 5, 0, 0};
  std::vector<ImputationOutcome> outcomes(1);
  Imputer imputer;
  const std::vector<float> low(kWidth, -20), high(kWidth, 20);
  imputer.SetRange(low, high);
  ASSERT_TRUE(imputer.Impute(*executor, kWidth, std::vector<float>{0, 1, 1, 1}, values, outcomes).ok());
  EXPECT_FALSE(outcomes[0].converged);
  EXPECT_EQ(outcomes[0].iterations, kMaxImputationIterations);
}

TEST(Imputer, StopsBetweenIterationsWhenItIsNoLongerWanted) {
  const Network network = Linear(-4 * Eigen::Matrix4d::Identity(), Eigen::Vector4d::Zero());  // would go on
  auto executor = *Executor::Create(network);
  std::vector<float> values = {0.5f, 5, 0, 0};
  std::vector<ImputationOutcome> outcomes(1);
  int asked = 0;
  const absl::Status status =
      Unbounded().Impute(*executor, kWidth, std::vector<float>{0, 1, 1, 1}, values, outcomes, kMaxImputationIterations,
                         [&] { return ++asked <= 3 ? absl::OkStatus() : absl::CancelledError("gone"); });
  EXPECT_EQ(status, absl::CancelledError("gone"));
  EXPECT_EQ(asked, 4);
  EXPECT_EQ(outcomes[0].iterations, 3u);
}

TEST(Imputer, AVectorsValuesDoNotDependOnItsNeighbours) {
  const Contraction map;
  const Network network = Linear(map.w, map.b);
  auto executor = *Executor::Create(network);
  Random random(2);
  constexpr size_t kVectors = 200;
  std::vector<float> values(kVectors * kWidth), observed(values.size());
  random.FillNormal(values);
  for (float& o : observed) o = random.Uniform() < 0.5 ? 1.0f : 0.0f;
  std::vector<float> together = values;
  std::vector<ImputationOutcome> outcomes(kVectors), one(1);
  ASSERT_TRUE(Unbounded().Impute(*executor, kWidth, observed, together, outcomes).ok());
  for (size_t i = 0; i < kVectors; ++i) {
    std::vector<float> alone(values.begin() + static_cast<std::ptrdiff_t>(i * kWidth),
                             values.begin() + static_cast<std::ptrdiff_t>((i + 1) * kWidth));
    ASSERT_TRUE(
        Unbounded().Impute(*executor, kWidth, std::span(observed).subspan(i * kWidth, kWidth), alone, one).ok());
    EXPECT_TRUE(std::ranges::equal(alone, std::span(together).subspan(i * kWidth, kWidth)));
    EXPECT_EQ(one[0].iterations, outcomes[i].iterations);
  }
}

}  // namespace
}  // namespace astray
