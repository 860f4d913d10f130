#include "engine/train/prototype_fit.h"

#include <Eigen/Cholesky>
#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/base/random.h"
#include "engine/detect/nearest_prototype.h"
#include "engine/train/random_streams.h"

namespace astray {
namespace {

using Index = Eigen::Index;
using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr size_t kRowsOfAPoint = 4;
constexpr int kMostRounds = 10;
constexpr double kLeastWeight = 1e-6;  // of a direction that the first layer does not see, of the mean

// L of the metric Wᵀ W + a little; a diagonal one of many features. The identity where no dense layer comes first.
Eigen::MatrixXd MetricRoot(const Network& network, Index features) {
  const bool paired = static_cast<size_t>(features) <= kMaxPairedFeatures;
  Eigen::MatrixXd root = Eigen::MatrixXd::Ones(features, 1);
  if (paired) root = Eigen::MatrixXd::Identity(features, features);
  const v1::Layer& first = network.spec().layers(0);
  if (!first.has_dense() || network.input_size() != static_cast<size_t>(features)) return root;
  const auto outputs = static_cast<Index>(network.shape(0).output.size());
  const Eigen::Map<const Matrix> weights(network.parameters().data() + network.offsets(0).weights, outputs, features);
  Eigen::VectorXd lengths = weights.cast<double>().colwise().squaredNorm();
  if (!(lengths.mean() > 0)) return root;
  const double little = kLeastWeight * lengths.mean();
  if (!paired) return (lengths.array() + little).sqrt().matrix();
  Eigen::MatrixXd metric = weights.cast<double>().transpose() * weights.cast<double>();
  metric.diagonal().array() += little;
  const Eigen::LLT<Eigen::MatrixXd> cholesky(metric);
  return cholesky.info() == Eigen::Success ? Eigen::MatrixXd(cholesky.matrixL()) : root;
}

// Lᵀ x of each row, what is missing of it as the network expects it.
Matrix Measured(const Rebuilt& rows, const Eigen::MatrixXd& root) {
  const Index features = root.rows(), count = static_cast<Index>(rows.input.size()) / features;
  Matrix values = Eigen::Map<const Matrix>(rows.input.data(), count, features);
  for (size_t i = 0; i < rows.input.size(); ++i) {
    if (rows.observed[i] == 0) values.data()[i] = rows.output[i];
  }
  if (root.cols() == 1 && features > 1) return values * root.col(0).cast<float>().asDiagonal();
  return values * root.cast<float>();
}

Eigen::VectorXf SquaredDistances(const Matrix& rows, const Eigen::VectorXf& lengths, const auto& point) {
  const Eigen::VectorXf products = rows * point.transpose();
  return (lengths.array() - 2 * products.array() + point.squaredNorm()).max(0.0f).matrix();
}

// Each drawn by its squared distance from those before; fewer where the rows are fewer different ones.
Matrix BeginFarApart(const Matrix& rows, const Eigen::VectorXf& lengths, Index most, Random& random) {
  Matrix points(most, rows.cols());
  Eigen::VectorXf distances = Eigen::VectorXf::Ones(rows.rows());
  Index count = 0;
  for (; count < most; ++count) {
    const double sum = distances.cast<double>().sum();
    if (!(sum > 0)) break;
    double left = random.Uniform() * sum;
    Index picked = 0;
    for (; picked + 1 < rows.rows(); ++picked) {
      left -= distances[picked];
      if (left < 0) break;
    }
    points.row(count) = rows.row(picked);
    const Eigen::VectorXf now = SquaredDistances(rows, lengths, points.row(count));
    distances = count == 0 ? now : Eigen::VectorXf(distances.cwiseMin(now));
    distances[picked] = 0;
  }
  return points.topRows(count);
}

Matrix Centres(const Matrix& rows, Index most, Random& random) {
  const Eigen::VectorXf lengths = rows.rowwise().squaredNorm();
  Matrix points = BeginFarApart(rows, lengths, most, random);
  std::vector<Index> nearest(static_cast<size_t>(rows.rows()), -1);
  for (int round = 0; round < kMostRounds; ++round) {
    const Matrix products = rows * points.transpose();
    const Eigen::RowVectorXf point_lengths = points.rowwise().squaredNorm().transpose();
    Eigen::MatrixXd sums = Eigen::MatrixXd::Zero(points.rows(), points.cols());
    Eigen::VectorXd counts = Eigen::VectorXd::Zero(points.rows());
    bool changed = false;
    for (Index i = 0; i < rows.rows(); ++i) {
      Index best = 0;
      (point_lengths - 2 * products.row(i)).minCoeff(&best);
      changed = changed || nearest[static_cast<size_t>(i)] != best;
      nearest[static_cast<size_t>(i)] = best;
      sums.row(best) += rows.row(i).cast<double>();
      counts[best] += 1;
    }
    if (!changed) break;
    for (Index k = 0; k < points.rows(); ++k) {
      if (counts[k] > 0) points.row(k) = (sums.row(k) / counts[k]).cast<float>();
    }
  }
  return points;
}

}  // namespace

void AddPrototypes(const Network& network, size_t most, const Rebuilt& training, const Rebuilt& held_out, uint64_t seed,
                   v1::ScoreScale* scale) {
  const size_t features = scale->features(), rows = training.input.size() / features;
  const size_t count = std::min({most, rows / kRowsOfAPoint, kMaxPrototypes, kMaxPrototypeValues / features});
  if (count == 0) return;
  const Eigen::MatrixXd root = MetricRoot(network, static_cast<Index>(features));
  Random random(seed, kPrototypeStream);
  const Matrix points = Centres(Measured(training, root), static_cast<Index>(count), random);

  v1::PrototypeScale prototypes;
  // The lower triangle, or all there is of a diagonal.
  for (Index a = 0; a < root.rows(); ++a) {
    for (Index b = 0; b < std::min(a + 1, root.cols()); ++b) prototypes.add_metric(static_cast<float>(root(a, b)));
  }
  for (Index i = 0; i < points.size(); ++i) prototypes.add_point(points.data()[i]);
  prototypes.set_unit(1);
  if (!CheckPrototypes(prototypes, features).ok()) return;  // rows beyond float32's numbers
  const NearestPrototype nearest(prototypes, features);
  NearestPrototype::Scratch scratch;
  const RebuiltVectors vectors = {.count = held_out.input.size() / features,
                                  .width = features,
                                  .outputs = features,
                                  .input = held_out.input.data(),
                                  .output = held_out.output.data(),
                                  .observed = held_out.observed.data()};
  double sum = 0;
  for (size_t i = 0; i < vectors.count; ++i) {
    double distance = 0;
    nearest.SquaredDistances(vectors, i, 1, &scratch, &distance);
    sum += distance;
  }
  prototypes.set_unit(sum / static_cast<double>(vectors.count));
  if (CheckPrototypes(prototypes, features).ok()) *scale->mutable_prototypes() = std::move(prototypes);
}

}  // namespace astray
