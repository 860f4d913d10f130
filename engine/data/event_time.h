// When a row or a log line happened, as text of untrusted origin says it.
#pragma once

#include <optional>

#include "absl/strings/string_view.h"

namespace astray {

// Seconds since 1970. "2026-01-31T08:00:00.5Z", "2026-01-31 08:00:00+01:00" (UTC where no zone is given), "2026-01-31",
// or a number of seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by its size. Nothing for
// other text.
std::optional<double> ParseEventTime(absl::string_view text);

}  // namespace astray
