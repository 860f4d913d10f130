#include "engine/train/prototype_fit.h"

#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "engine/base/random.h"
#include "engine/detect/nearest_prototype.h"

namespace astray {
namespace {

Network MakeNetwork(uint32_t features, uint32_t units, uint64_t seed) {
  v1::NetworkSpec spec;
  for (const auto& [inputs, outputs] : {std::pair{features, units}, std::pair{units, features}}) {
    v1::Layer* layer = spec.add_layers();
    layer->set_name(outputs == units ? "code" : "output");
    layer->mutable_dense()->set_inputs(inputs);
    layer->mutable_dense()->set_outputs(outputs);
    layer->mutable_dense()->set_activation(v1::LINEAR);
  }
  auto network = Network::Create(spec);
  EXPECT_TRUE(network.ok()) << network.status();
  Random random(seed);
  network->Initialise(random);
  return std::move(*network);
}

// Rows around so many places, far from each other, and what a network made of them.
struct Rows {
  std::vector<float> input, output, observed;
  Rebuilt all() const { return {input, output, observed}; }
};

Rows MakeRows(size_t count, size_t features, size_t places, double spread, uint64_t seed) {
  Random where(77), random(seed);
  std::vector<double> centres(places * features);
  for (double& value : centres) value = 5 * where.Normal();
  Rows rows;
  for (size_t i = 0; i < count; ++i) {
    for (size_t f = 0; f < features; ++f) {
      rows.input.push_back(static_cast<float>(centres[i % places * features + f] + spread * random.Normal()));
      rows.output.push_back(rows.input.back() + static_cast<float>(0.1 * random.Normal()));
    }
  }
  rows.observed.assign(rows.input.size(), 1);
  return rows;
}

v1::ScoreScale Fit(const Network& network, size_t most, const Rows& training, const Rows& held_out, size_t features,
                   uint64_t seed = 1) {
  v1::ScoreScale scale;
  scale.set_kind(v1::MEAN_SQUARED);
  scale.set_features(static_cast<uint32_t>(features));
  AddPrototypes(network, most, training.all(), held_out.all(), seed, &scale);
  EXPECT_TRUE(!scale.has_prototypes() || CheckPrototypes(scale.prototypes(), features).ok());
  return scale;
}

TEST(AddPrototypes, AreTheCentresOfClustersAsTheFirstLayerMeasures) {
  constexpr size_t kFeatures = 4, kPlaces = 6, kRows = 600;
  const Network network = MakeNetwork(kFeatures, 20, 5);
  const Rows training = MakeRows(kRows, kFeatures, kPlaces, 0.1, 1),
             held_out = MakeRows(90, kFeatures, kPlaces, 0.1, 2);
  const v1::PrototypeScale scale = Fit(network, kPlaces, training, held_out, kFeatures).prototypes();
  ASSERT_EQ(scale.point_size(), static_cast<int>(kPlaces * kFeatures));

  // L Lᵀ is what the first layer's units make of a difference between rows.
  const Eigen::Map<const Eigen::Matrix<float, 20, kFeatures, Eigen::RowMajor>> weights(network.parameters().data() +
                                                                                       network.offsets(0).weights);
  Eigen::Matrix4d root = Eigen::Matrix4d::Zero();
  for (int a = 0, at = 0; a < 4; ++a) {
    for (int b = 0; b <= a; ++b, ++at) root(a, b) = scale.metric(at);
  }
  const Eigen::Matrix4d metric = (weights.transpose() * weights).cast<double>();
  EXPECT_LT((root * root.transpose() - metric).norm(), 1e-4 * metric.norm());

  // One point amid each place.
  std::set<int> found;
  for (size_t place = 0; place < kPlaces; ++place) {
    Eigen::RowVector4d mean = Eigen::RowVector4d::Zero();
    for (size_t i = place; i < kRows; i += kPlaces) {
      for (int f = 0; f < 4; ++f) mean[f] += training.input[i * kFeatures + static_cast<size_t>(f)] * kPlaces / kRows;
    }
    for (int k = 0; k < static_cast<int>(kPlaces); ++k) {
      Eigen::RowVector4d point;
      for (int f = 0; f < 4; ++f) point[f] = scale.point(k * 4 + f);
      if ((point - mean * root).norm() < 1e-3) found.insert(k);
    }
  }
  EXPECT_EQ(found.size(), kPlaces);

  // The mean over held-out rows of the distance from the nearest place is the unit.
  double sum = 0;
  for (size_t i = 0; i < 90; ++i) {
    double nearest = 1e30;
    for (int k = 0; k < static_cast<int>(kPlaces); ++k) {
      double squares = 0;
      for (int f = 0; f < 4; ++f) {
        double measured = 0;
        for (int g = f; g < 4; ++g) measured += root(g, f) * held_out.input[i * kFeatures + static_cast<size_t>(g)];
        squares += std::pow(measured - scale.point(k * 4 + f), 2);
      }
      nearest = std::min(nearest, squares);
    }
    sum += nearest / 90;
  }
  EXPECT_NEAR(scale.unit(), sum, 1e-3 * sum);
}

TEST(AddPrototypes, EachStandsForFourRowsOnAverageAndAllFit) {
  const Network network = MakeNetwork(3, 5, 1);
  const auto count = [&](size_t most, size_t rows) {
    return Fit(network, most, MakeRows(rows, 3, 1000, 1, 1), MakeRows(20, 3, 7, 1, 2), 3).prototypes().point_size() / 3;
  };
  EXPECT_EQ(count(10, 100), 10);
  EXPECT_EQ(count(256, 100), 25);
  EXPECT_EQ(count(256, 4), 1);
  EXPECT_EQ(count(256, 3), 0);
  EXPECT_EQ(count(256, 2000), 256);
  constexpr size_t kWide = 400;
  const Rows wide = MakeRows(500, kWide, 500, 1, 1);
  const v1::PrototypeScale scale = Fit(MakeNetwork(kWide, 3, 1), 256, wide, wide, kWide).prototypes();
  EXPECT_EQ(scale.point_size() / static_cast<int>(kWide), 81) << "32,768 numbers together";
  EXPECT_EQ(scale.metric_size(), static_cast<int>(kWide));
}

TEST(AddPrototypes, TheSameSeedGivesTheSameOnes) {
  const Network network = MakeNetwork(3, 5, 1);
  const Rows training = MakeRows(300, 3, 40, 1, 1), held_out = MakeRows(30, 3, 40, 1, 2);
  const auto bytes = [&](uint64_t seed) { return Fit(network, 20, training, held_out, 3, seed).SerializeAsString(); };
  EXPECT_EQ(bytes(1), bytes(1));
  EXPECT_NE(bytes(1), bytes(2));
}

TEST(AddPrototypes, WhatIsMissingIsAsTheNetworkExpectsIt) {
  const Network network = MakeNetwork(3, 5, 1);
  const Rows held_out = MakeRows(30, 3, 4, 1, 2);
  Rows whole = MakeRows(300, 3, 4, 1, 1), holes = whole;
  for (size_t i = 0; i < whole.input.size(); i += 7) {
    whole.input[i] = whole.output[i];
    holes.input[i] = 1e6f;
    holes.observed[i] = 0;
  }
  EXPECT_EQ(Fit(network, 9, holes, held_out, 3).SerializeAsString(),
            Fit(network, 9, whole, held_out, 3).SerializeAsString());
}

TEST(AddPrototypes, StayOutWhereThereIsNothingToCompare) {
  const Network network = MakeNetwork(3, 5, 1);
  Rows same = MakeRows(100, 3, 1, 0, 1);
  std::ranges::fill(same.input, 0.0f);
  EXPECT_FALSE(Fit(network, 5, same, same, 3).has_prototypes()) << "all rows at one point";
  EXPECT_FALSE(Fit(network, 5, MakeRows(100, 3, 5, 1, 1), {}, 3).has_prototypes()) << "no held-out rows";
  EXPECT_TRUE(Fit(network, 5, same, MakeRows(9, 3, 5, 1, 1), 3).has_prototypes());
}

}  // namespace
}  // namespace astray
