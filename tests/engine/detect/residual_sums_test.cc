#include "engine/detect/residual_sums.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/base/random.h"
#include "tests/testing/each_target.h"

namespace astray {
namespace {

struct Vectors {
  size_t count, width, outputs;
  std::vector<float> input, output, observed;
  std::vector<uint32_t> missing;
  std::vector<double> weight;

  // Every second vector has missing values. Exactly as many numbers as there must be: nothing else may be read.
  Vectors(size_t count, size_t width, size_t outputs)
      : count(count), width(width), outputs(outputs), input(count * width), output(count * outputs) {
    Random random(width);
    random.FillNormal(input);
    random.FillNormal(output);
    for (size_t i = 0; i < count; ++i) {
      missing.push_back(0);
      for (size_t j = 0; j < width; ++j) {
        observed.push_back(i % 2 == 1 && random.Uniform() < 0.3 ? 0.0f : 1.0f);
        missing.back() += observed.back() == 0 ? 1 : 0;
        if (observed.back() == 0) output[i * outputs + j] = std::nanf("");
      }
    }
    for (size_t j = 0; j < width; ++j) weight.push_back(0.1 + random.Uniform());
  }
  RebuiltVectors view() const {
    return {.count = count,
            .width = width,
            .outputs = outputs,
            .input = input.data(),
            .output = output.data(),
            .observed = observed.data(),
            .missing = missing.data()};
  }
  double residual(size_t i, size_t j) const {
    return observed[i * width + j] == 0 ? 0 : output[i * outputs + j] - input[i * width + j];
  }
};

// In the order that the header states.
double Sum(const Vectors& vectors, size_t i, size_t begin, bool weighted) {
  double sums[8] = {};
  for (size_t j = begin; j < vectors.width; ++j) {
    const double residual = vectors.residual(i, j);
    const double square = residual * residual;
    sums[(j - begin) % 8] += weighted ? square * vectors.weight[j] : square;
  }
  for (const size_t half : {4, 2, 1}) {
    for (size_t k = 0; k < half; ++k) sums[k] += sums[k + half];
  }
  return sums[0];
}

TEST(SumSquares, HasTheBitsOfItsOrderOnEveryProcessor) {
  OnEachTarget([] {
    for (size_t width = 1; width < 50; ++width) {
      const Vectors vectors(5, width, width + width % 3);
      for (const bool weighted : {false, true}) {
        for (size_t begin = 0; begin < width; begin += 7) {
          std::vector<double> sums(vectors.count);
          SumSquares(vectors.view(), begin, weighted ? vectors.weight.data() : nullptr, sums.data());
          RebuiltVectors unknown = vectors.view();
          unknown.missing = nullptr;
          std::vector<double> same(vectors.count);
          SumSquares(unknown, begin, weighted ? vectors.weight.data() : nullptr, same.data());
          for (size_t i = 0; i < vectors.count; ++i) {
            ASSERT_EQ(sums[i], Sum(vectors, i, begin, weighted)) << width << " " << begin;
            ASSERT_EQ(same[i], sums[i]);
          }
        }
      }
    }
  });
}

TEST(SumByFeature, HasTheBitsOfItsOrderOnEveryProcessor) {
  OnEachTarget([] {
    for (size_t features = 1; features < 40; ++features) {
      const size_t rows = 1 + features % 5;
      const Vectors vectors(2, features * rows, features * rows);
      for (size_t i = 0; i < 2; ++i) {
        std::vector<double> residual(features, 1), square(features, 2), count(features, 3);
        const float* observed = vectors.view().observed_of(i);
        const size_t begin = i * vectors.width;
        SumByFeature(vectors.input.data() + begin, vectors.output.data() + begin, observed, vectors.weight.data(),
                     features, rows, residual.data(), square.data(), count.data());
        for (size_t f = 0; f < features; ++f) {
          double expected_residual = 1, expected_square = 2, expected_count = 3;
          for (size_t j = vectors.width + f; j >= features;) {
            j -= features;
            const double r = vectors.residual(i, j);
            expected_residual += r;
            expected_square += r * r * vectors.weight[j];
            expected_count += vectors.observed[begin + j];
          }
          ASSERT_EQ(residual[f], expected_residual) << features << " " << f;
          ASSERT_EQ(square[f], expected_square);
          ASSERT_EQ(count[f], expected_count);
        }
      }
    }
  });
}

TEST(MultiplyRows, HasTheBitsOfItsOrderOnEveryProcessor) {
  OnEachTarget([] {
    Random random(1);
    for (const size_t size : {1, 7, 8, 9, 38}) {
      const size_t columns = (size + kMatrixColumns - 1) / kMatrixColumns * kMatrixColumns;
      std::vector<double> z(size), matrix(size * columns), product(columns);
      for (double& value : z) value = random.Normal();
      for (double& value : matrix) value = random.Normal();
      MultiplyRows(z, matrix.data(), columns, product.data());
      for (size_t column = 0; column < columns; ++column) {
        double expected = 0;
        for (size_t i = 0; i < size; ++i) expected += matrix[i * columns + column] * z[i];
        ASSERT_EQ(product[column], expected);
      }
    }
  });
}

}  // namespace
}  // namespace astray
