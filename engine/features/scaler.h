// Brings columns to one scale: standard, min-max or robust (recipe.proto states the formulas), fitted on observed
// values in double precision. A constant column gets scale 1. Keeps what training saw of each column.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/pipeline.pb.h"
#include "astray/v1/recipe.pb.h"

namespace astray {

class Scaler {
 public:
  // Scaled values are held within ±kLimit, so that no finite input can overflow the network.
  static constexpr float kLimit = 1e4f;

  Scaler() = default;
  static absl::StatusOr<Scaler> Fit(astray::v1::Scaling scaling, const std::vector<std::string>& names,
                                    std::span<const float> rows);
  static absl::StatusOr<Scaler> FromState(const astray::v1::ScalerState& state);
  const astray::v1::ScalerState& state() const { return state_; }

  size_t columns() const { return offset_.size(); }

  // rows, scaled, observed: [n x columns]. A NaN becomes the column's fill, with observed 0.
  void Apply(std::span<const float> rows, std::span<float> scaled, std::span<float> observed) const;
  void Invert(std::span<const float> scaled, std::span<float> rows) const;

 private:
  astray::v1::ScalerState state_;
  std::vector<double> offset_, scale_, fill_;
};

}  // namespace astray
