#include "engine/data/cell.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/match.h"

namespace astray {

bool IsTimestampName(absl::string_view name) {
  static constexpr std::array<absl::string_view, 5> kNames = {"timestamp", "time", "datetime", "date", "ts"};
  return std::any_of(kNames.begin(), kNames.end(),
                     [&](absl::string_view known) { return absl::EqualsIgnoreCase(name, known); });
}

bool ToFloat(double number, float* value) {
  constexpr double kRoundsToInfinity = 0x1.ffffffp127;  // the first that does not round to a float
  if (!(std::abs(number) < kRoundsToInfinity)) return false;
  *value = static_cast<float>(number);
  return true;
}

bool ParseLabel(absl::string_view cell, uint8_t* label) {
  for (const absl::string_view word : {"1", "true", "anomaly", "1.0"}) {
    if (absl::EqualsIgnoreCase(cell, word)) return *label = 1, true;
  }
  for (const absl::string_view word : {"0", "false", "normal", "0.0"}) {
    if (absl::EqualsIgnoreCase(cell, word)) return *label = 0, true;
  }
  return false;
}

}  // namespace astray
