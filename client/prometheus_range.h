// A stretch of a Prometheus's past as a table to learn from.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/prometheus_client.h"
#include "engine/data/dataset.h"

namespace astray {

// --range and --end.
struct PrometheusRangeFlags {
  std::string range, end;  // end: RFC 3339 or Unix seconds; empty is now

  void Add(CLI::App* command);
};

// One row a step, features sorted by name; NaN where a series has no finite number. Steps before the first and after
// the last reading are left out. Usage errors name the flag; otherwise PrometheusClient's, and InvalidArgument where
// nothing is there.
absl::StatusOr<Dataset> ReadPrometheusRange(absl::string_view source, const PrometheusFlags& flags,
                                            const PrometheusRangeFlags& range);

std::string FormatPrometheusTime(absl::Time time);  // RFC 3339, UTC

// The arguments that stream the same features: --source=... --query=... --step=..., quoted for a shell.
std::string PrometheusStreamArguments(absl::string_view source, const PrometheusFlags& flags);

}  // namespace astray
