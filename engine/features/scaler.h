// Brings columns to one scale: standard, min-max, robust or logarithmic (recipe.proto states the formulas), fitted on
// observed values in double precision. Keeps what training saw of each column. Immutable after Fit; const methods are
// thread-safe.
//
// A column without spread keeps its units: a constant column (ColumnProfile.constant, kConstantRange) gets scale 1, or
// kConstantRange times its magnitude where that is more, so that float32's own steps stay below 1. ROBUST takes the
// standard deviation where the interquartile range of a column that does vary is 0 (mostly zeros, say).
//
// A missing value becomes the column's mean (ROBUST: median) in scaled units.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/pipeline.pb.h"
#include "astray/v1/recipe.pb.h"
#include "engine/base/scratch_file.h"

namespace astray {

class Scaler {
 public:
  // Scaled values are held within ±kLimit, so that no finite input can overflow the network.
  static constexpr float kLimit = 1e4f;

  Scaler() = default;

  // names: one a column. rows: [n x columns], at least one row.
  static absl::StatusOr<Scaler> Fit(astray::v1::Scaling scaling, const std::vector<std::string>& names,
                                    std::span<const float> rows) {
    return Fit(scaling, names, std::span(&rows, 1), {});
  }
  // The same of rows in several parts. A column at a time is copied, into memory or a file of `scratch`.
  static absl::StatusOr<Scaler> Fit(astray::v1::Scaling scaling, const std::vector<std::string>& names,
                                    std::span<const std::span<const float>> parts, const Scratch& scratch);
  // Untrusted: sizes agree, numbers are finite, scales above 0, fills within ±kLimit.
  static absl::StatusOr<Scaler> FromState(const astray::v1::ScalerState& state);
  const astray::v1::ScalerState& state() const { return state_; }

  size_t columns() const { return fill_.size(); }

  // rows, scaled, observed: [n x columns], no infinities. A NaN becomes the column's fill, with observed 0.
  void Apply(std::span<const float> rows, std::span<float> scaled, std::span<float> observed) const;
  // The same in two steps, of which the second is only needed where the first says false: not every value is finite, or
  // some are beyond kLimit. missing [n] becomes how many values of a row are NaN. Gives false where a value is
  // infinite.
  bool Scale(std::span<const float> rows, std::span<float> scaled) const;
  bool Fill(std::span<const float> rows, std::span<float> scaled, std::span<float> observed,
            std::span<uint32_t> missing) const;
  // One value of a column, in double precision and unbounded.
  double InvertValue(size_t column, double scaled) const;
  float InvertHeld(size_t column, double scaled) const;  // the same, held at float32's largest number
  // scaled, rows: [n x columns]. What is past float32 becomes its largest number.
  void Invert(std::span<const float> scaled, std::span<float> rows) const;

 private:
  void KeepArrays();

  astray::v1::ScalerState state_;
  // One a column, and then from the first on again (row_scaling.h). A scale's inverse is held at double's largest.
  std::vector<double> offset_, inverse_scale_;
  std::vector<float> fill_;
};

}  // namespace astray
