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

// scaled = (value - offset) * factor, for values in row-major order of `columns`; `scaled` may be `values`. True where
// every result is within ±limit, and so every value finite; elsewhere HoldAndFill must follow.
bool ScaleRows(std::span<const float> values, size_t columns, const double* offset, const double* factor, float limit,
               float* scaled);

// What ScaleRows leaves open. Of whole rows: scaled is held within ±limit or becomes fill [columns] where a value is
// NaN, observed 0 there and 1 elsewhere, missing [rows] how many of a row are. `values` is not `scaled`. False where a
// value is infinite.
bool HoldAndFill(std::span<const float> values, size_t columns, float limit, const float* fill, float* scaled,
                 float* observed, uint32_t* missing);

}  // namespace astray
