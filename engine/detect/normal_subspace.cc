#include "engine/detect/normal_subspace.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/detect/check_numbers.h"
#include "engine/detect/residual_sums.h"

namespace astray {
absl::Status CheckSubspaceScale(const v1::SubspaceScale& scale, size_t width) {
  RETURN_IF_ERROR(CheckNumbers("subspace: mean", scale.mean(), width, /*positive=*/false));
  RETURN_IF_ERROR(CheckNumbers("subspace: variance", scale.variance(), width, /*positive=*/true));
  const auto values = static_cast<size_t>(scale.component_size());
  if (values % width != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("subspace: component: expected a multiple of ", width, " values, got ", values));
  }
  if (values > kMaxSubspaceValues || values / width > kMaxSubspaceComponents) {
    return absl::InvalidArgumentError(absl::StrCat("subspace: component: expected at most ", kMaxSubspaceComponents,
                                                   " components and ", kMaxSubspaceValues, " values, got ",
                                                   values / width, " and ", values));
  }
  return CheckNumbers("subspace: component", scale.component(), values, /*positive=*/false);
}

NormalSubspace::NormalSubspace(const v1::SubspaceScale& scale)
    : width_(static_cast<size_t>(scale.mean_size())),
      components_(static_cast<size_t>(scale.component_size()) / width_),
      coordinate_columns_(MatrixColumns(components_)),
      window_columns_(MatrixColumns(width_)),
      mean_(scale.mean().begin(), scale.mean().end()),
      by_position_(width_ * coordinate_columns_),
      by_component_(components_ * window_columns_) {
  for (const float variance : scale.variance()) inverse_variance_.push_back(1.0 / variance);
  for (size_t c = 0, at = 0; c < components_; ++c) {
    for (size_t j = 0; j < width_; ++j, ++at) {
      by_position_[j * coordinate_columns_ + c] = by_component_[c * window_columns_ + j] =
          scale.component(static_cast<int>(at));
    }
  }
}

double NormalSubspace::SquaredDistance(const float* window, const float* observed, Scratch* scratch) const {
  scratch->assign(width_ + coordinate_columns_ + window_columns_, 0);
  const std::span<double> centred = std::span(*scratch).first(width_);
  double* const coordinates = centred.data() + width_;
  double* const rebuilt = coordinates + coordinate_columns_;
  for (size_t j = 0; j < width_; ++j) centred[j] = window[j] - mean_[j];
  MultiplyRows(centred, by_position_.data(), coordinate_columns_, coordinates);
  MultiplyRows(std::span(coordinates, components_), by_component_.data(), window_columns_, rebuilt);
  double sum = 0, count = 0;
  for (size_t j = 0; j < width_; ++j) {
    if (observed != nullptr && observed[j] == 0) continue;
    const double off = centred[j] - rebuilt[j];
    sum += off * off * inverse_variance_[j];
    count += 1;
  }
  return count > 0 ? sum / count : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace astray
