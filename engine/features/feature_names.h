// The names of a row's columns: they become labels in replies, JSON and reports.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace astray {

inline constexpr size_t kMaxFeatures = size_t{1} << 16;
inline constexpr size_t kMaxFeatureNameBytes = 256;

// At least one and at most kMaxFeatures; each unique, not empty, at most kMaxFeatureNameBytes of UTF-8 without control
// characters. InvalidArgument names the column, counted from 1: "feature 3: name: expected UTF-8".
absl::Status CheckFeatureNames(const std::vector<std::string>& names);

}  // namespace astray
