// The arithmetic of Scaler::Apply in vector code, for the processor the program runs on. Every value is computed by
// itself in double precision, without fused multiply-add: the bits are the same on every processor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace astray {

// offset and factor hold one number a column and then begin again, for this many more: a vector of values reads on
// across the end of a row.
inline constexpr size_t kScalingPadding = 8;

// scaled = (value - offset) * factor, held within ±limit, for values in row-major order of `columns`; `scaled` may be
// `values`. What comes of a NaN is not said. True where every value is finite.
bool ScaleRows(std::span<const float> values, size_t columns, const double* offset, const double* factor, double limit,
               float* scaled);

// What ScaleRows leaves open. Of whole rows: scaled becomes fill [columns] where a value is NaN, observed 0 there and 1
// elsewhere, missing [rows] how many of a row are. `values` is not `scaled`. False where a value is infinite.
bool FillMissing(std::span<const float> values, size_t columns, const float* fill, float* scaled, float* observed,
                 uint32_t* missing);

}  // namespace astray
