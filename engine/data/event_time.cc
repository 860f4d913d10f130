#include "engine/data/event_time.h"

#include <cmath>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/time/time.h"

namespace astray {
namespace {

// A number of seconds up to here is before the year 5138; a larger one counts thousandths of the unit before.
constexpr double kMaxSeconds = 1e11;
constexpr double kMaxNanoseconds = 1e20;

}  // namespace

std::optional<double> ParseEventTime(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  double number = 0;
  if (absl::SimpleAtod(text, &number)) {
    if (!(std::abs(number) < kMaxNanoseconds)) return std::nullopt;
    while (std::abs(number) >= kMaxSeconds) number /= 1000;
    return number;
  }
  absl::Time time;
  for (const char* format : {"%Y-%m-%d%ET%H:%M:%E*S%Ez", "%Y-%m-%d%ET%H:%M:%E*S", "%Y-%m-%d %H:%M:%E*S%Ez",
                             "%Y-%m-%d %H:%M:%E*S", "%Y-%m-%d %H:%M", "%Y-%m-%d"}) {
    if (absl::ParseTime(format, text, &time, nullptr) && time != absl::InfiniteFuture() &&
        time != absl::InfinitePast()) {
      return absl::ToDoubleSeconds(time - absl::UnixEpoch());
    }
  }
  return std::nullopt;
}

}  // namespace astray
