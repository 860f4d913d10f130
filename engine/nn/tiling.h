// How a training step's matrices are cut into tasks: by their sizes alone, never by the number of threads, so that
// every number of threads computes the same bytes.
#pragma once

#include <cstddef>
#include <vector>

namespace astray {

// Rows [row, row + rows) and columns [column, column + columns) of a matrix.
struct Tile {
  size_t row = 0, rows = 0, column = 0, columns = 0;
};

// A step of fewer floating-point operations is one thread's and not cut: threads would bring little for twice the work.
inline constexpr double kLeastStepFlops = 1e8;
inline constexpr double kLeastTaskFlops = 1.25e6;

// A [rows x columns] matrix in tiles of a size; the last ones are smaller.
std::vector<Tile> Cut(size_t rows, size_t columns, size_t tile_rows, size_t tile_columns);

// The parts of `whole`: `parts` of them, or fewer, each a multiple of `multiple` but the last.
size_t PartOf(size_t whole, size_t parts, size_t multiple);

// In a step of `flops`, of a [rows x inner] times [inner x columns] product.
std::vector<Tile> CutProduct(size_t rows, size_t columns, size_t inner, double flops);

// Of a gradient by weights: [outputs x batch] times [batch x inputs], cut into outputs, as columns of one row.
std::vector<Tile> CutOutputs(size_t batch, size_t outputs, size_t inputs, double flops);

// Of what is done row by row.
std::vector<Tile> CutRows(size_t rows, double flops);

}  // namespace astray
