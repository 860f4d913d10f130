#include "engine/train/pca.h"

#include <algorithm>
#include <vector>

namespace astray {
namespace {

using Rows = Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;

Rows AsRows(std::span<const float> values, Eigen::Index width) {
  return {values.data(), static_cast<Eigen::Index>(values.size()) / width, width};
}

}  // namespace

Pca::Pca(std::span<const float> values, size_t width) {
  const Rows rows = AsRows(values, static_cast<Eigen::Index>(width));
  mean_ = rows.cast<double>().colwise().mean();
  // A block at a time: the rows in double precision would take twice the memory of `values`, more than once.
  constexpr Eigen::Index kBlockRows = 1024;
  Eigen::MatrixXd covariance = Eigen::MatrixXd::Zero(mean_.size(), mean_.size());
  for (Eigen::Index begin = 0; begin < rows.rows(); begin += kBlockRows) {
    const Eigen::Index count = std::min(kBlockRows, rows.rows() - begin);
    const Eigen::MatrixXd centred = rows.middleRows(begin, count).cast<double>().rowwise() - mean_.transpose();
    covariance.noalias() += centred.transpose() * centred;
  }
  covariance /= static_cast<double>(rows.rows());
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(covariance);
  components_ = solver.eigenvectors().rowwise().reverse();
}

std::vector<Pca::Errors> Pca::AllErrors(std::span<const float> clean, std::span<const float> corrupted) const {
  const Eigen::Index width = mean_.size();
  const auto coordinates = [&](std::span<const float> values) -> Eigen::MatrixXd {
    return (AsRows(values, width).cast<double>().rowwise() - mean_.transpose()) * components_;
  };
  const Eigen::MatrixXd c = coordinates(clean), d = coordinates(corrupted);
  const double count = static_cast<double>(c.size());
  const Eigen::VectorXd kept = (c - d).colwise().squaredNorm(), lost = c.colwise().squaredNorm();
  Errors now{.components = 0, .denoising = lost.sum() / count, .clean = lost.sum() / count};
  std::vector<Errors> errors;
  for (Eigen::Index k = 0; k < width; ++k) {
    now.components = static_cast<size_t>(k) + 1;
    now.denoising += (kept[k] - lost[k]) / count;
    now.clean = std::max(0.0, now.clean - lost[k] / count);
    errors.push_back(now);
  }
  return errors;
}

Pca::Errors Pca::Best(std::span<const float> clean, std::span<const float> corrupted, size_t most_components) const {
  const std::vector<Errors> errors = AllErrors(clean, corrupted);
  const size_t most = std::clamp<size_t>(most_components, 1, errors.size());
  return *std::min_element(errors.begin(), errors.begin() + static_cast<std::ptrdiff_t>(most),
                           [](const Errors& a, const Errors& b) { return a.denoising < b.denoising; });
}

Pca::Errors Pca::For(std::span<const float> clean, std::span<const float> corrupted, size_t components) const {
  return AllErrors(clean, corrupted)[components - 1];
}

size_t Pca::ComponentsThatLeave(double share, std::span<const float> clean) const {
  const Eigen::MatrixXd centred = AsRows(clean, mean_.size()).cast<double>().rowwise() - mean_.transpose();
  const double most = share * centred.squaredNorm() / static_cast<double>(centred.size());
  const std::vector<Errors> errors = AllErrors(clean, clean);
  const auto enough = std::ranges::find_if(errors, [&](const Errors& e) { return e.clean <= most; });
  return enough == errors.end() ? errors.size() : enough->components;
}

}  // namespace astray
