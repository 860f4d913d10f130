// A few rows with the errors that a detector gave them when it was made. A detector that does not reproduce them on
// this machine must not go live.
#pragma once

#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "astray/v1/artifact.pb.h"
#include "engine/detect/detector.h"

namespace astray {

// On the same kind of machine errors are the same bit for bit. On another kind the arithmetic's order may differ:
// scores may then differ by this part of max(1, score).
inline constexpr double kGoldenTolerance = 1e-4;

// rows: time-ordered, at least a window's worth. The error of a vector with nothing observed is NaN.
absl::StatusOr<astray::v1::Golden> MakeGolden(const Detector& detector, std::span<const float> rows);

// Untrusted. InvalidArgument where it does not fit the detector's shape, FailedPrecondition where an error does not
// come out the same; names the vector.
absl::Status ReplayGolden(const Detector& detector, const astray::v1::Golden& golden);

}  // namespace astray
