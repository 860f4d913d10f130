// The Mahalanobis distance of deviations that are already in units of their own spread: zᵀ P z, P the inverse of their
// correlation. Immutable and thread-safe.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "google/protobuf/repeated_field.h"

namespace astray {

// P has a number for each pair of features.
inline constexpr size_t kMaxMahalanobisFeatures = 128;

class MahalanobisDistance {
 public:
  // precision: P's lower triangle row by row, [features x (features + 1) / 2]; P is positive definite.
  MahalanobisDistance(const google::protobuf::RepeatedField<float>& precision, size_t features);

  // Over the number of features that are there, of which there is one at least; not below 0. z [features]; count
  // [features]: 0 where a feature is missing, and then its z becomes the one that makes the distance smallest, which is
  // the distance of the others alone. terms: of each feature z_f (P z)_f, 0 where that is below; then padding.
  double Of(std::span<const double> count, std::span<double> z, std::vector<double>* terms) const;

 private:
  void FillMissing(std::span<const double> count, std::span<double> z) const;

  size_t columns_;                 // features, up to the next multiple of kMatrixColumns
  std::vector<double> precision_;  // [features x columns_]
};

}  // namespace astray
