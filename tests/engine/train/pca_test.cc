#include "engine/train/pca.h"

#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <vector>

#include "engine/base/random.h"

namespace astray {
namespace {

constexpr size_t kWidth = 6, kVectors = 500;

// Points of a plane in six dimensions, away from the origin.
std::vector<float> PlanePoints(uint64_t seed) {
  const float a[kWidth] = {1, 2, 0, -1, 0.5f, 3}, b[kWidth] = {0, 1, -2, 1, 4, 0.25f};
  Random random(seed);
  std::vector<float> values;
  for (size_t i = 0; i < kVectors; ++i) {
    const float u = static_cast<float>(random.Normal()), v = static_cast<float>(random.Normal());
    for (size_t j = 0; j < kWidth; ++j) values.push_back(10.0f + u * a[j] + v * b[j]);
  }
  return values;
}

std::vector<float> Noisy(std::vector<float> values, uint64_t seed) {
  Random random(seed);
  for (float& value : values) value += 0.3f * static_cast<float>(random.Normal());
  return values;
}

TEST(Pca, RebuildsAPlaneExactlyFromTwoComponents) {
  const Pca pca(PlanePoints(1), kWidth);
  const std::vector<float> clean = PlanePoints(2), corrupted = Noisy(clean, 3);
  EXPECT_GT(pca.For(clean, corrupted, 1).clean, 0.1);
  EXPECT_NEAR(pca.For(clean, corrupted, 2).clean, 0, 1e-9);
  const Pca::Errors best = pca.Best(clean, corrupted, kWidth);
  EXPECT_EQ(best.components, 2u);
  // Noise of variance 0.09 in two of six dimensions comes through.
  EXPECT_NEAR(best.denoising, 0.09 * 2 / 6, 0.003);
  EXPECT_EQ(pca.Best(clean, corrupted, 1).components, 1u);
}

TEST(Pca, EqualsSingularVectorsInDoublePrecision) {
  const std::vector<float> train = Noisy(PlanePoints(4), 5), clean = Noisy(PlanePoints(6), 7),
                           corrupted = Noisy(clean, 8);
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const auto as_double = [](const std::vector<float>& values) -> Matrix {
    return Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(
               values.data(), static_cast<Eigen::Index>(values.size() / kWidth), kWidth)
        .cast<double>();
  };
  const Matrix x = as_double(train), c = as_double(clean), d = as_double(corrupted);
  const Eigen::RowVectorXd mean = x.colwise().mean();
  const Eigen::JacobiSVD<Eigen::MatrixXd> svd(x.rowwise() - mean, Eigen::ComputeThinV);
  const Pca pca(train, kWidth);
  for (Eigen::Index k = 1; k <= static_cast<Eigen::Index>(kWidth); ++k) {
    const Eigen::MatrixXd v = svd.matrixV().leftCols(k);
    const auto rebuild = [&](const Matrix& m) -> Matrix {
      return ((m.rowwise() - mean) * v * v.transpose()).rowwise() + mean;
    };
    const Pca::Errors errors = pca.For(clean, corrupted, static_cast<size_t>(k));
    EXPECT_NEAR(errors.denoising, (rebuild(d) - c).squaredNorm() / static_cast<double>(c.size()), 1e-9) << k;
    EXPECT_NEAR(errors.clean, (rebuild(c) - c).squaredNorm() / static_cast<double>(c.size()), 1e-9) << k;
  }
}

}  // namespace
}  // namespace astray
