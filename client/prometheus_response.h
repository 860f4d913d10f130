// What Prometheus's HTTP API answers to a query: series with their labels and points
// (https://prometheus.io/docs/prometheus/latest/querying/api/). The bytes are untrusted; whoever calls caps their
// number.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace astray {

struct PrometheusSeries {
  std::map<std::string, std::string> labels;     // __name__ too, where there is one
  std::vector<std::pair<double, float>> points;  // Unix time in seconds, value; NaN where it is no finite float
};

// A vector, a matrix or a scalar (a series without labels). DataLoss names the place in the reply: "data.result 3:
// value: expected [time, "number"]"; where Prometheus itself says what is wrong, with its words.
absl::StatusOr<std::vector<PrometheusSeries>> ParsePrometheusResponse(absl::string_view body);

// metric{cpu="0",mode="idle"}, labels in order; in place of a metric that has no name the query. With `by`, only these
// labels. InvalidArgument for a name of more than 256 bytes.
absl::StatusOr<std::string> PrometheusSeriesName(const std::string& query,
                                                 const std::map<std::string, std::string>& labels,
                                                 const std::vector<std::string>& by);

}  // namespace astray
