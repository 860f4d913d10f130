#include "engine/detect/mahalanobis.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/detect/residual_sums.h"

namespace astray {

MahalanobisDistance::MahalanobisDistance(const google::protobuf::RepeatedField<float>& precision, size_t features)
    : columns_(MatrixColumns(features)), precision_(features * columns_) {
  for (size_t a = 0, at = 0; a < features; ++a) {
    for (size_t b = 0; b <= a; ++b, ++at) {
      precision_[a * columns_ + b] = precision_[b * columns_ + a] = precision.Get(static_cast<int>(at));
    }
  }
}

double MahalanobisDistance::Of(std::span<const double> count, std::span<double> z, std::vector<double>* terms) const {
  const auto missing = static_cast<size_t>(std::ranges::count(count, 0.0));
  if (missing > 0) FillMissing(count, z);
  terms->resize(columns_);
  MultiplyRows(z, precision_.data(), columns_, terms->data());
  double distance = 0;
  for (size_t f = 0; f < z.size(); ++f) {
    const double part = z[f] * (*terms)[f];
    distance += part;
    (*terms)[f] = std::max(part, 0.0);
  }
  // Rounding can take the distance of what is normal to the last bit below 0.
  return std::max(distance, 0.0) / static_cast<double>(z.size() - missing);
}

// P is positive definite, so that one after the other to its own minimum converges (Gauss-Seidel).
void MahalanobisDistance::FillMissing(std::span<const double> count, std::span<double> z) const {
  constexpr int kMostSweeps = 100;
  constexpr double kSmallStep = 1e-6;
  for (size_t f = 0; f < z.size(); ++f) {
    if (count[f] == 0) z[f] = 0;
  }
  for (int sweep = 0; sweep < kMostSweeps; ++sweep) {
    double largest_step = 0;
    for (size_t f = 0; f < z.size(); ++f) {
      if (count[f] > 0) continue;
      const double* row = precision_.data() + f * columns_;
      const double step = -std::inner_product(z.begin(), z.end(), row, 0.0) / row[f];
      z[f] += step;
      largest_step = std::max(largest_step, std::abs(step));
    }
    if (largest_step < kSmallStep) return;
  }
}

}  // namespace astray
