#include "engine/train/subspace_fit.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/detect/normal_subspace.h"
#include "engine/detect/score_scale.h"

namespace astray {
namespace {

using Index = Eigen::Index;
using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr size_t kMostWindows = 512;
constexpr size_t kMostValues = size_t{1} << 22;  // of these windows together: 32 MiB
constexpr double kShareWithin = 0.8;

struct Windows {
  Matrix values, observed;  // [windows x width]
};

absl::StatusOr<Windows> WindowsOf(const Pipeline& pipeline, const std::vector<Stretch>& stretches) {
  const size_t features = pipeline.features(), width = pipeline.width();
  size_t all = 0;
  for (const Stretch& stretch : stretches) all += pipeline.Vectors(stretch.rows.size() / features);
  const size_t most = std::clamp<size_t>(kMostValues / width, 1, kMostWindows);
  const size_t stride = std::max<size_t>(1, (all + most - 1) / most);
  Batch batch;
  std::vector<float> values, observed;
  size_t next = 0;  // of the stretch's windows, the one to look at
  for (const Stretch& stretch : stretches) {
    const size_t there = pipeline.Vectors(stretch.rows.size() / features);
    if (next >= there) {
      next -= there;
      continue;
    }
    RETURN_IF_ERROR(pipeline.Apply(stretch.rows.subspan(next * features), &batch, stride));
    next += batch.vectors * stride - there;
    values.insert(values.end(), batch.values.begin(), batch.values.end());
    observed.insert(observed.end(), batch.observed.begin(), batch.observed.end());
  }
  using Floats = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const auto count = static_cast<Index>(values.size() / width), columns = static_cast<Index>(width);
  return Windows{.values = Eigen::Map<const Floats>(values.data(), count, columns).cast<double>(),
                 .observed = Eigen::Map<const Floats>(observed.data(), count, columns).cast<double>()};
}

// Of centred windows, as columns. Decomposes whichever product is the smaller one.
Eigen::MatrixXd Components(const Matrix& centred) {
  const bool wide = centred.cols() > centred.rows();
  const Eigen::MatrixXd product =
      wide ? Eigen::MatrixXd(centred * centred.transpose()) : Eigen::MatrixXd(centred.transpose() * centred);
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(product);
  const Eigen::VectorXd variances = solver.eigenvalues().reverse().cwiseMax(0.0);
  const auto width = static_cast<size_t>(centred.cols());
  const auto most = static_cast<Index>(
      std::min({kMaxSubspaceComponents, kMaxSubspaceValues / width, static_cast<size_t>(variances.size())}));
  Index count = 0;
  for (double within = 0; count < most && within < kShareWithin * variances.sum(); ++count) within += variances[count];
  Eigen::MatrixXd largest = solver.eigenvectors().rowwise().reverse().leftCols(count);
  if (!wide) return largest;
  return centred.transpose() * largest * variances.head(count).cwiseSqrt().cwiseInverse().asDiagonal();
}

// Of each position the mean square of what lies off the subspace; NaN where nothing was observed.
Eigen::ArrayXd MeanSquares(const Windows& windows, const Eigen::RowVectorXd& mean, const Eigen::MatrixXd& components) {
  const Matrix centred = windows.values.rowwise() - mean;
  const Matrix off = centred - (centred * components) * components.transpose();
  const auto squares = off.array().square() * windows.observed.array();
  return (squares.colwise().sum() / windows.observed.array().colwise().sum()).transpose();
}

void Store(const auto& values, google::protobuf::RepeatedField<float>* out) {
  for (const double value : values) out->Add(static_cast<float>(value));
}

}  // namespace

absl::StatusOr<std::optional<v1::SubspaceScale>> FitSubspace(const Pipeline& pipeline,
                                                             const std::vector<Stretch>& held_out,
                                                             const std::vector<Stretch>& training) {
  ASSIGN_OR_RETURN(const Windows unseen, WindowsOf(pipeline, held_out));
  ASSIGN_OR_RETURN(const Windows seen, WindowsOf(pipeline, training));
  if (seen.values.rows() == 0) return std::nullopt;
  const Eigen::RowVectorXd mean = seen.values.colwise().mean();
  const Eigen::MatrixXd components = Components(seen.values.rowwise() - mean);
  const Eigen::ArrayXd of_unseen = MeanSquares(unseen, mean, components), of_seen = MeanSquares(seen, mean, components);
  std::vector<double> variances(static_cast<size_t>(mean.size()));
  double sum = 0, known = 0;
  for (size_t j = 0; j < variances.size(); ++j) {
    const auto at = static_cast<Index>(j);
    variances[j] = std::fmax(of_unseen[at], of_seen[at]);  // the other one where one is NaN
    if (std::isnan(variances[j])) continue;
    sum += variances[j];
    known += 1;
  }
  const double average = known > 0 ? sum / known : 1, floor = std::max(kVarianceFloor, kVarianceFloorRatio * average);
  for (double& variance : variances) variance = std::isnan(variance) ? average : std::max(variance, floor);
  v1::SubspaceScale scale;
  Store(mean, scale.mutable_mean());
  for (Index c = 0; c < components.cols(); ++c) Store(components.col(c), scale.mutable_component());
  Store(variances, scale.mutable_variance());
  return scale;
}

}  // namespace astray
