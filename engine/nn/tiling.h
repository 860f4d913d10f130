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

// Below so many floating-point operations a task costs more than it brings, and a step is done by one thread.
inline constexpr double kLeastTaskFlops = 1.25e6;
inline constexpr double kLeastStepFlops = 1e7;

// A [rows x columns] matrix in tiles of a size; the last ones are smaller.
std::vector<Tile> Cut(size_t rows, size_t columns, size_t tile_rows, size_t tile_columns);

// The parts of `whole`: `parts` of them, or fewer, each a multiple of `multiple` but the last.
size_t PartOf(size_t whole, size_t parts, size_t multiple);

// Of a [rows x inner] times [inner x columns] product.
std::vector<Tile> CutProduct(size_t rows, size_t columns, size_t inner);

// Of a gradient by weights: [columns x batch] times [batch x inputs], cut into rows of it, that is into columns of one
// row.
std::vector<Tile> CutOutputs(size_t batch, size_t columns, size_t inputs);

// Of what is done row by row, in a step of `flops`.
std::vector<Tile> CutRows(size_t rows, double flops);

}  // namespace astray
