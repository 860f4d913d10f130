#include "engine/detect/nearest_prototype.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/detect/check_numbers.h"

namespace astray {
namespace {

size_t RoundUp(size_t size) { return (size + kGroupColumns - 1) / kGroupColumns * kGroupColumns; }

absl::Status Refuse(absl::string_view field, absl::string_view expected, const auto& got) {
  return absl::InvalidArgumentError(absl::StrCat("score: prototypes: ", field, ": expected ", expected, ", got ", got));
}

}  // namespace

absl::Status CheckPrototypes(const v1::PrototypeScale& scale, size_t features) {
  const size_t metric = features <= kMaxPairedFeatures ? features * (features + 1) / 2 : features;
  RETURN_IF_ERROR(CheckNumbers("score: prototypes: metric", scale.metric(), metric, /*positive=*/false));
  const auto values = static_cast<size_t>(scale.point_size());
  const size_t most = std::min(kMaxPrototypes * features, kMaxPrototypeValues);
  if (values == 0 || values % features != 0 || values > most) {
    return Refuse("point", absl::StrCat("1 to ", most, " values, a multiple of ", features), values);
  }
  RETURN_IF_ERROR(CheckNumbers("score: prototypes: point", scale.point(), values, /*positive=*/false));
  if (std::isfinite(scale.unit()) && scale.unit() > 0) return absl::OkStatus();
  return Refuse("unit", "a finite number above 0", scale.unit());
}

NearestPrototype::NearestPrototype(const v1::PrototypeScale& scale, size_t features)
    : features_(features),
      stride_(RoundUp(features)),
      paired_(features <= kMaxPairedFeatures),
      inverse_unit_(std::min(1 / scale.unit(), std::numeric_limits<double>::max())) {
  // Column `column`, value `i` of a matrix in groups.
  const auto place = [&](size_t i, size_t column) {
    return (column / kGroupColumns * features + i) * kGroupColumns + column % kGroupColumns;
  };
  if (paired_) {
    metric_.assign(stride_ * features, 0);
    for (size_t a = 0, at = 0; a < features; ++a) {
      for (size_t b = 0; b <= a; ++b, ++at) metric_[place(a, b)] = scale.metric(static_cast<int>(at));
    }
  } else {
    metric_.assign(scale.metric().begin(), scale.metric().end());
  }
  const size_t count = static_cast<size_t>(scale.point_size()) / features;
  points_.assign(RoundUp(count) * features, 0);
  lengths_.assign(RoundUp(count), std::numeric_limits<double>::infinity());
  for (size_t k = 0; k < count; ++k) {
    lengths_[k] = 0;
    for (size_t f = 0; f < features; ++f) {
      const double value = scale.point(static_cast<int>(k * features + f));
      points_[place(f, k)] = value;
      lengths_[k] += value * value;
    }
  }
}

void NearestPrototype::SquaredDistances(const RebuiltVectors& vectors, size_t first, size_t count, Scratch* scratch,
                                        double* distances) const {
  scratch->rows.resize(kRowsTogether * stride_);
  for (size_t i = 0; i < count; ++i) {
    const float *input = vectors.input + (first + i) * vectors.width,
                *output = vectors.output + (first + i) * vectors.outputs, *observed = vectors.observed_of(first + i);
    double* const row = scratch->rows.data() + i * stride_;
    std::copy_n(input, features_, row);
    for (size_t f = 0; observed != nullptr && f < features_; ++f) {
      if (observed[f] == 0) row[f] = output[f];
    }
  }
  Measure(count, scratch);
  scratch->products.resize(kRowsTogether * lengths_.size());
  MultiplyGroups(scratch->measured.data(), count, stride_, features_, points_.data(), lengths_.size() / kGroupColumns,
                 scratch->products.data());
  for (size_t i = 0; i < count; ++i) {
    const double *measured = scratch->measured.data() + i * stride_,
                 *products = scratch->products.data() + i * lengths_.size();
    // |y - q|² = |y|² - 2 y q + |q|²
    std::array<double, kGroupColumns> least;
    least.fill(std::numeric_limits<double>::infinity());
    for (size_t k = 0; k < lengths_.size(); k += kGroupColumns) {
      for (size_t column = 0; column < kGroupColumns; ++column) {
        least[column] = std::min(least[column], lengths_[k + column] - 2 * products[k + column]);
      }
    }
    const double distance = std::inner_product(measured, measured + features_, measured, std::ranges::min(least));
    // Rounding can take the distance of a point from itself to the last bit below 0; of no number, it stays none.
    distances[i] = distance < 0 ? 0 : distance * inverse_unit_;
  }
}

void NearestPrototype::Measure(size_t count, Scratch* scratch) const {
  scratch->measured.resize(kRowsTogether * stride_);
  if (paired_) {
    MultiplyGroups(scratch->rows.data(), count, stride_, features_, metric_.data(), stride_ / kGroupColumns,
                   scratch->measured.data());
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    const double* const row = scratch->rows.data() + i * stride_;
    std::transform(row, row + features_, metric_.begin(),
                   scratch->measured.begin() + static_cast<std::ptrdiff_t>(i * stride_), std::multiplies<>());
  }
}

}  // namespace astray
