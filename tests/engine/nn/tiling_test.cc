#include "engine/nn/tiling.h"

#include <gtest/gtest.h>

#include <vector>

namespace astray {
namespace {

// Every place is in one tile.
void ExpectCover(const std::vector<Tile>& tiles, size_t rows, size_t columns) {
  std::vector<int> times(rows * columns);
  for (const Tile& tile : tiles) {
    ASSERT_LE(tile.row + tile.rows, rows);
    ASSERT_LE(tile.column + tile.columns, columns);
    for (size_t i = tile.row; i < tile.row + tile.rows; ++i) {
      for (size_t j = tile.column; j < tile.column + tile.columns; ++j) ++times[i * columns + j];
    }
  }
  for (const int t : times) ASSERT_EQ(t, 1) << rows << " x " << columns;
}

constexpr double kSmall = 1e7, kLarge = 1e9;  // operations of a step

TEST(Tiling, TilesCoverAMatrixOnce) {
  for (const size_t rows : {1, 5, 16, 100, 128, 129, 511, 1024, 2500}) {
    for (const size_t columns : {1, 7, 38, 191, 192, 500, 784}) {
      for (const double flops : {kSmall, kLarge}) {
        ExpectCover(CutProduct(rows, columns, 512, flops), rows, columns);
        ExpectCover(CutOutputs(rows, columns, 512, flops), 1, columns);
        ExpectCover(CutRows(rows, flops), rows, 1);
      }
    }
  }
}

TEST(Tiling, ASmallStepOrProductIsOneTask) {
  EXPECT_EQ(CutProduct(1024, 784, 512, kSmall).size(), 1u);
  EXPECT_EQ(CutOutputs(1024, 784, 512, kSmall).size(), 1u);
  EXPECT_EQ(CutRows(1024, kSmall).size(), 1u);
  EXPECT_EQ(CutProduct(128, 38, 16, kLarge).size(), 1u);
  EXPECT_EQ(CutOutputs(128, 38, 16, kLarge).size(), 1u);
}

TEST(Tiling, LargeWorkIsSeveral) {
  EXPECT_EQ(CutProduct(2048, 784, 512, kLarge).size(), 8u) << "rows of many";
  EXPECT_EQ(CutProduct(128, 784, 512, kLarge).size(), 4u) << "columns of few";
  EXPECT_EQ(CutProduct(128, 64, 512, kLarge).size(), 4u) << "rows where columns are few, too";
  EXPECT_EQ(CutOutputs(128, 784, 512, kLarge).size(), 8u);
  EXPECT_EQ(CutRows(128, kLarge).size(), 4u);
}

}  // namespace
}  // namespace astray
