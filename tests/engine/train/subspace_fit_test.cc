#include "engine/train/subspace_fit.h"

#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/random.h"
#include "engine/detect/normal_subspace.h"

namespace astray {
namespace {

using Matrix = Eigen::MatrixXd;

// Features that follow two loads, each in its own way, and noise.
std::vector<float> LoadRows(size_t rows, size_t features, double noise, uint64_t seed) {
  Random random(seed);
  std::vector<float> values;
  for (size_t i = 0; i < rows; ++i) {
    const double slow = std::sin(0.05 * static_cast<double>(i)), fast = std::cos(0.21 * static_cast<double>(i));
    for (size_t f = 0; f < features; ++f) {
      const double share = std::sin(static_cast<double>(f));
      values.push_back(static_cast<float>(share * slow + (1 - share) * fast + noise * random.Normal()));
    }
  }
  return values;
}

Pipeline PipelineOf(const std::vector<float>& rows, size_t features, uint32_t window) {
  v1::FeaturesRecipe recipe;
  recipe.set_scaling(v1::STANDARD);
  recipe.set_window(window);
  std::vector<std::string> names;
  for (size_t f = 0; f < features; ++f) names.push_back(absl::StrCat("f", f));
  auto pipeline = Pipeline::Fit(recipe, names, rows);
  EXPECT_TRUE(pipeline.ok()) << pipeline.status();
  return *std::move(pipeline);
}

Matrix WindowsOf(const Pipeline& pipeline, const std::vector<float>& rows) {
  Batch batch;
  EXPECT_TRUE(pipeline.Apply(rows, &batch).ok());
  Matrix windows(batch.vectors, batch.width);
  for (size_t i = 0; i < batch.values.size(); ++i) {
    windows(static_cast<Eigen::Index>(i / batch.width), static_cast<Eigen::Index>(i % batch.width)) = batch.values[i];
  }
  return windows;
}

v1::SubspaceScale FitOrDie(const Pipeline& pipeline, const std::vector<Stretch>& held_out,
                           const std::vector<Stretch>& training) {
  const auto fitted = FitSubspace(pipeline, held_out, training);
  EXPECT_TRUE(fitted.ok()) << fitted.status();
  return fitted->value();
}

Matrix ComponentsOf(const v1::SubspaceScale& scale) {
  Matrix components(scale.mean_size(), scale.component_size() / scale.mean_size());
  for (int i = 0; i < scale.component_size(); ++i) components.reshaped()[i] = scale.component(i);
  return components;
}

// By a singular value decomposition: the fewest directions that hold four fifths of the variance.
Matrix DirectionsOf(const Matrix& windows) {
  const Matrix centred = windows.rowwise() - windows.colwise().mean();
  const Eigen::JacobiSVD<Matrix> svd(centred, Eigen::ComputeThinV);
  const Eigen::VectorXd squares = svd.singularValues().cwiseAbs2();
  Eigen::Index count = 0;
  while (squares.head(count).sum() < 0.8 * squares.sum()) ++count;
  return svd.matrixV().leftCols(count);
}

TEST(FitSubspace, FindsTheDirectionsThatHoldFourFifthsOfTheVariance) {
  // More windows than values in each, and fewer.
  for (const auto& [features, window] : {std::pair<size_t, uint32_t>{3, 10}, {12, 20}}) {
    const std::vector<float> training = LoadRows(150, features, 0.4, 1), held_out = LoadRows(60, features, 0.4, 2);
    const Pipeline pipeline = PipelineOf(training, features, window);
    const v1::SubspaceScale scale = FitOrDie(pipeline, {{.rows = held_out}}, {{.rows = training}});
    ASSERT_TRUE(CheckSubspaceScale(scale, pipeline.width()).ok());
    const Matrix windows = WindowsOf(pipeline, training), expected = DirectionsOf(windows);
    const Matrix components = ComponentsOf(scale);
    ASSERT_EQ(components.cols(), expected.cols());
    EXPECT_LT((components * components.transpose() - expected * expected.transpose()).norm(), 1e-5);
    const Eigen::RowVectorXd mean = windows.colwise().mean();
    const auto mean_squares = [&](const Matrix& of) -> Eigen::RowVectorXd {
      const Matrix centred = of.rowwise() - mean;
      return (centred - centred * expected * expected.transpose()).cwiseAbs2().colwise().mean();
    };
    const Eigen::RowVectorXd variance = mean_squares(windows).cwiseMax(mean_squares(WindowsOf(pipeline, held_out)));
    for (int j = 0; j < scale.mean_size(); ++j) {
      EXPECT_NEAR(scale.mean(j), mean[j], 1e-5);
      EXPECT_NEAR(scale.variance(j), variance[j], 1e-4 * variance[j]);
    }
  }
}

TEST(FitSubspace, HoldsNoMoreThanAnArtifactTakes) {
  const std::vector<float> noise = LoadRows(600, 10, 50, 1);
  const Pipeline pipeline = PipelineOf(noise, 10, 20);
  const v1::SubspaceScale scale = FitOrDie(pipeline, {{.rows = noise}}, {{.rows = noise}});
  EXPECT_EQ(scale.component_size(), static_cast<int>(kMaxSubspaceComponents * 200)) << "four fifths would take more";
}

TEST(FitSubspace, LooksAtWindowsOfAllStretches) {
  // The second half of a hundred short stretches moves in a way of its own.
  std::vector<float> rows = LoadRows(4000, 2, 0.1, 1);
  for (size_t row = 2000; row < 4000; ++row) rows[2 * row] += row % 2 == 0 ? 5.0f : -5.0f;
  const Pipeline pipeline = PipelineOf(rows, 2, 10);
  std::vector<Stretch> stretches;
  for (size_t row = 0; row < 4000; row += 40) stretches.push_back({.rows = std::span(rows).subspan(2 * row, 80)});
  const v1::SubspaceScale scale = FitOrDie(pipeline, stretches, stretches);
  // Whatever windows were looked at, half of them are of either kind.
  Eigen::VectorXd alternating = Eigen::VectorXd::Zero(20);
  for (Eigen::Index row = 0; row < 10; ++row) alternating[2 * row] = (row % 2 == 0 ? 1 : -1) / std::sqrt(10.0);
  const Matrix components = ComponentsOf(scale);
  EXPECT_GT((components.transpose() * alternating).norm(), 0.95);
}

TEST(FitSubspace, OfAConstantColumnLeavesRoomForRounding) {
  std::vector<float> rows = LoadRows(200, 3, 0.1, 1);
  for (size_t row = 0; row < 200; ++row) rows[3 * row + 1] = 7;
  const Pipeline pipeline = PipelineOf(rows, 3, 10);
  const v1::SubspaceScale scale = FitOrDie(pipeline, {{.rows = rows}}, {{.rows = rows}});
  EXPECT_GE(*std::ranges::min_element(scale.variance()), 1e-6f);
  EXPECT_TRUE(CheckSubspaceScale(scale, 30).ok());
}

TEST(FitSubspace, LeavesOutWhatIsMissing) {
  std::vector<float> rows = LoadRows(200, 3, 0.1, 1);
  const Pipeline pipeline = PipelineOf(rows, 3, 10);
  for (size_t row = 0; row < 200; ++row) rows[3 * row + 1] = std::numeric_limits<float>::quiet_NaN();
  const v1::SubspaceScale scale = FitOrDie(pipeline, {{.rows = rows}}, {{.rows = rows}});
  EXPECT_TRUE(CheckSubspaceScale(scale, 30).ok()) << CheckSubspaceScale(scale, 30);
}

TEST(FitSubspace, IsNoneWhereNoWindowFits) {
  const std::vector<float> rows = LoadRows(200, 3, 0.1, 1);
  const Pipeline pipeline = PipelineOf(rows, 3, 10);
  const auto none = FitSubspace(pipeline, {{.rows = rows}}, {{.rows = std::span(rows).first(27)}});
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_FALSE(none->has_value());
  const auto without_held_out = FitSubspace(pipeline, {}, {{.rows = rows}});
  ASSERT_TRUE(without_held_out.ok()) << without_held_out.status();
  EXPECT_TRUE(CheckSubspaceScale(without_held_out->value(), 30).ok());
}

}  // namespace
}  // namespace astray
