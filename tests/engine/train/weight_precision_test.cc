#include "engine/train/weight_precision.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "engine/base/random.h"
#include "engine/nn/bfloat16.h"
#include "tests/testing/reference_network.h"

namespace astray {
namespace {

constexpr size_t kFeatures = 4, kRows = 200;

// y = w x for each feature: its reconstruction leaves (1 - w) x.
Network Scaling(float w) {
  Network network = *Network::Create(testing::DenseSpec({kFeatures, kFeatures}, v1::LINEAR, v1::LINEAR));
  for (size_t j = 0; j < kFeatures; ++j) network.parameters()[network.offsets(0).weights + j * kFeatures + j] = w;
  return network;
}

struct Rows {
  Rows() : values(kRows * kFeatures) { Random(1).FillNormal(values); }
  VectorSet Set() const { return VectorSet(values, observed, kFeatures, 1, {{0, kRows}}); }
  std::vector<float> values, observed;
};

bool AllBfloat16(const Network& network) { return std::ranges::all_of(network.parameters(), IsBfloat16); }

v1::Recipe RecipeWith(v1::WeightPrecision precision) {
  v1::Recipe recipe;
  recipe.mutable_network()->set_weight_precision(precision);
  return recipe;
}

// The nearest bfloat16 to 1 - 2^-10 is 1: a move of 2^-10 of x where 2^-10 of x is left.
TEST(SetWeightPrecision, StaysWhereRoundingWouldShow) {
  Network network = Scaling(1 - 0x1p-10f);
  v1::Recipe recipe;
  ASSERT_TRUE(SetWeightPrecision(Rows().Set(), &network, &recipe).ok());
  EXPECT_EQ(recipe.network().weight_precision(), v1::FLOAT32);
  EXPECT_EQ(network.parameters()[0], 1 - 0x1p-10f);
}

// 0.5 is left where 2^-10 moves.
TEST(SetWeightPrecision, RoundsWhereRoundingIsLost) {
  Network network = Scaling(0.5f + 0x1p-10f);
  v1::Recipe recipe;
  ASSERT_TRUE(SetWeightPrecision(Rows().Set(), &network, &recipe).ok());
  EXPECT_EQ(recipe.network().weight_precision(), v1::BFLOAT16);
  EXPECT_EQ(network.parameters()[0], 0.5f);
}

TEST(SetWeightPrecision, OneValueOfAVectorIsEnoughToStay) {
  Network network = Scaling(0.5f + 0x1p-10f);
  network.parameters()[network.offsets(0).weights] = 1 - 0x1p-10f;
  Rows rows;
  v1::Recipe recipe;
  ASSERT_TRUE(SetWeightPrecision(rows.Set(), &network, &recipe).ok());
  EXPECT_EQ(recipe.network().weight_precision(), v1::FLOAT32);

  // Never observed, it does not count.
  rows.observed.assign(rows.values.size(), 1);
  for (size_t i = 0; i < rows.observed.size(); i += kFeatures) rows.observed[i] = 0;
  recipe.Clear();
  ASSERT_TRUE(SetWeightPrecision(rows.Set(), &network, &recipe).ok());
  EXPECT_EQ(recipe.network().weight_precision(), v1::BFLOAT16);
}

TEST(SetWeightPrecision, DoesWhatTheRecipeSays) {
  Network network = Scaling(1 - 0x1p-10f);
  v1::Recipe recipe = RecipeWith(v1::FLOAT32);
  ASSERT_TRUE(SetWeightPrecision(Rows().Set(), &network, &recipe).ok());
  EXPECT_FALSE(AllBfloat16(network));
  recipe = RecipeWith(v1::BFLOAT16);
  ASSERT_TRUE(SetWeightPrecision(Rows().Set(), &network, &recipe).ok());
  EXPECT_TRUE(AllBfloat16(network));
  EXPECT_EQ(recipe.network().weight_precision(), v1::BFLOAT16);
}

}  // namespace
}  // namespace astray
