// A check of lists of numbers from outside, such as an artifact's.
#pragma once

#include <google/protobuf/repeated_field.h>

#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace astray {

// InvalidArgument: "score: variance: expected 3 values, got 2", "score: variance 1: expected a finite number above 0,
// got nan", by the name of the field; above 0 where they must be positive.
absl::Status CheckNumbers(absl::string_view field, const google::protobuf::RepeatedField<float>& numbers,
                          size_t expected, bool positive);

}  // namespace astray
