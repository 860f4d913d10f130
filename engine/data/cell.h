// How readers take single names and values, whatever the format.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace astray {

// timestamp, time, datetime, date, ts (any case): what a column of times is called.
bool IsTimestampName(absl::string_view name);

// False for an infinity and what would round to one. A number too small for a float becomes 0.
bool ToFloat(double number, float* value);

// 1, true, anomaly: 1; 0, false, normal: 0 (any case). False for anything else.
bool ParseLabel(absl::string_view cell, uint8_t* label);

}  // namespace astray
