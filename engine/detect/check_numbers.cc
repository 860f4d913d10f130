#include "engine/detect/check_numbers.h"

#include <cmath>

#include "absl/strings/str_cat.h"

namespace astray {

absl::Status CheckNumbers(absl::string_view field, const google::protobuf::RepeatedField<float>& numbers,
                          size_t expected, bool positive) {
  if (static_cast<size_t>(numbers.size()) != expected) {
    return absl::InvalidArgumentError(absl::StrCat(field, ": expected ", expected, " values, got ", numbers.size()));
  }
  for (int i = 0; i < numbers.size(); ++i) {
    if (std::isfinite(numbers.Get(i)) && (!positive || numbers.Get(i) > 0)) continue;
    return absl::InvalidArgumentError(absl::StrCat(field, " ", i, ": expected a finite number",
                                                   positive ? " above 0" : "", ", got ", numbers.Get(i)));
  }
  return absl::OkStatus();
}

}  // namespace astray
