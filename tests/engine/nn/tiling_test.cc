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

TEST(Tiling, TilesCoverAMatrixOnce) {
  for (const size_t rows : {1, 5, 16, 100, 128, 129, 511, 512, 1000}) {
    for (const size_t columns : {1, 7, 38, 191, 192, 500, 784}) {
      ExpectCover(CutProduct(rows, columns, 512), rows, columns);
      ExpectCover(CutOutputs(rows, columns, 512), 1, columns);
      ExpectCover(CutRows(rows, 1e9), rows, 1);
      ExpectCover(CutRows(rows, 0), rows, 1);
    }
  }
}

TEST(Tiling, SmallWorkIsOneTask) {
  EXPECT_EQ(CutProduct(128, 38, 16).size(), 1u);
  EXPECT_EQ(CutOutputs(128, 38, 16).size(), 1u);
  EXPECT_EQ(CutRows(128, 1e6).size(), 1u);
}

TEST(Tiling, LargeWorkIsSeveral) {
  EXPECT_EQ(CutProduct(2048, 784, 512).size(), 8u) << "rows of many";
  EXPECT_EQ(CutProduct(128, 784, 512).size(), 4u) << "columns of few";
  EXPECT_EQ(CutProduct(128, 64, 512).size(), 4u) << "rows where columns are few, too";
  EXPECT_EQ(CutOutputs(128, 784, 512).size(), 8u);
  EXPECT_EQ(CutRows(128, 1e8).size(), 4u);
}

}  // namespace
}  // namespace astray
