// The process_* metrics that every Prometheus client library exports, read from /proc/self at each scrape.
#pragma once

#include <vector>

#include "prometheus/metric_family.h"

namespace astray {

// What cannot be read is left out.
std::vector<prometheus::MetricFamily> CollectProcessMetrics();

}  // namespace astray
