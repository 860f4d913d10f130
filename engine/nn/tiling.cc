#include "engine/nn/tiling.h"

#include <algorithm>

namespace astray {
namespace {

constexpr size_t kTileRows = 256;  // as few keep gemm at its full speed
constexpr size_t kFewParts = 4, kManyParts = 8;
// What gemm's kernels compute at once: of rows, of columns.
constexpr size_t kKernelRows = 16, kKernelColumns = 48;

size_t MostParts(size_t rows, size_t columns, size_t inner) {
  const double flops = 2.0 * static_cast<double>(rows) * static_cast<double>(columns) * static_cast<double>(inner);
  return static_cast<size_t>(std::max(1.0, flops / kLeastTaskFlops));
}

}  // namespace

std::vector<Tile> Cut(size_t rows, size_t columns, size_t tile_rows, size_t tile_columns) {
  std::vector<Tile> tiles;
  for (size_t row = 0; row < rows; row += tile_rows) {
    for (size_t column = 0; column < columns; column += tile_columns) {
      tiles.push_back({row, std::min(tile_rows, rows - row), column, std::min(tile_columns, columns - column)});
    }
  }
  return tiles;
}

size_t PartOf(size_t whole, size_t parts, size_t multiple) {
  const size_t part = (whole + parts - 1) / parts;
  return std::min(whole, (part + multiple - 1) / multiple * multiple);
}

std::vector<Tile> CutProduct(size_t rows, size_t columns, size_t inner, double flops) {
  if (flops < kLeastStepFlops) return Cut(rows, columns, rows, columns);
  const size_t most = MostParts(rows, columns, inner);
  if (rows >= kFewParts * kTileRows) {
    return Cut(rows, columns, PartOf(rows, std::min(most, rows / kTileRows), kKernelRows), columns);
  }
  // Each tile packs its right side for gemm: of few rows that is much of the work, so columns are cut where there are
  // enough of them.
  const size_t parts = std::min(most, kFewParts);
  if (columns >= kFewParts * kKernelColumns) {
    return Cut(rows, columns, rows, PartOf(columns, parts, kKernelColumns));
  }
  return Cut(rows, columns, PartOf(rows, parts, kKernelRows), columns);
}

std::vector<Tile> CutOutputs(size_t batch, size_t outputs, size_t inputs, double flops) {
  if (flops < kLeastStepFlops) return Cut(1, outputs, 1, outputs);
  return Cut(1, outputs, 1, PartOf(outputs, std::min(MostParts(batch, outputs, inputs), kManyParts), 8));
}

std::vector<Tile> CutRows(size_t rows, double flops) {
  if (flops < kLeastStepFlops) return Cut(rows, 1, rows, 1);
  return Cut(rows, 1, PartOf(rows, std::max(kFewParts, rows / kTileRows), kKernelRows), 1);
}

}  // namespace astray
