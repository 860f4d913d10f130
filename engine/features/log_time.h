// The time that a log line says it has.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace astray {

inline constexpr size_t kLogTimeBytes = 64;  // of a line, where its time is looked for

// The first YYYY-MM-DD[T ]hh:mm:ss[.,fraction][Z|+hh:mm|+hhmm] that begins and ends in the line's first kLogTimeBytes,
// in seconds since 1970; UTC where it names no zone. None where there is none, or it is no date (2023-02-30).
std::optional<double> FindLogTime(std::string_view line);

}  // namespace astray
