// Sums over the residuals of vectors, r_j = output_j - input_j, in vector code for the processor the program runs on.
//
// Residuals are of single precision, as the values are; their squares and sums are of double precision, each rounded by
// itself, in one order on every processor: the bits of a sum depend on its vector alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace astray {

// Vectors one behind the other. `outputs` of each, at least `width`: the reconstruction is the first.
struct RebuiltVectors {
  size_t count = 0, width = 0, outputs = 0;
  const float *input = nullptr, *output = nullptr, *observed = nullptr;
  const uint32_t* missing = nullptr;  // of each how many are not observed, so that `observed` is read only where some
                                      // are; null: not known

  // observed of vector i; null where all are.
  const float* observed_of(size_t i) const {
    return missing != nullptr && missing[i] == 0 ? nullptr : observed + i * width;
  }
};

// sums[i] becomes the sum over observed positions j from `begin` on of weight_j r_j² (weight [width], null: 1). Eight
// sums go side by side, position j in that of (j - begin) mod 8, and are then added up in pairs, halves first.
void SumSquares(const RebuiltVectors& vectors, size_t begin, const double* weight, double* sums);

// Adds to what each feature [features] has, for `rows` rows of one vector, newest first: of its observed positions the
// sums of r_j and of weight_j r_j², and their number. The pointers are to the first of these rows; observed is null
// where all are.
void SumByFeature(const float* input, const float* output, const float* observed, const double* weight, size_t features,
                  size_t rows, double* residual, double* square, double* count);

// product [columns] = sum over i, in order, of z_i times row i of `matrix` [z.size() x columns]; columns is a multiple
// of kMatrixColumns.
inline constexpr size_t kMatrixColumns = 8;
constexpr size_t MatrixColumns(size_t least) { return (least + kMatrixColumns - 1) / kMatrixColumns * kMatrixColumns; }
void MultiplyRows(std::span<const double> z, const double* matrix, size_t columns, double* product);

// The same of up to kRowsTogether rows at once, z [rows x size] and product [rows x size], both `stride` apart, and of
// a lower triangular matrix [size x size], in groups of columns: [groups x size x kTriangleColumns]. stride: size, up
// to the next multiple of kTriangleColumns.
inline constexpr size_t kRowsTogether = 4, kTriangleColumns = 16;
void MultiplyByTriangle(const double* z, size_t rows, size_t stride, size_t size, const double* matrix,
                        double* product);

}  // namespace astray
