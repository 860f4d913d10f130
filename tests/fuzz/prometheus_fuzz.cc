// A reply of Prometheus's API made of the input: series of finite numbers or NaN with names that are short enough, or
// one short line that says what is wrong.
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "client/prometheus_response.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto require = [](bool condition) {
    if (!condition) std::abort();
  };
  const auto require_line = [&](const absl::Status& status) {
    require(status.message().size() < 500);
    for (const char c : status.message()) require(static_cast<unsigned char>(c) >= ' ' && c != '\x7f');
  };
  const auto all = astray::ParsePrometheusResponse({reinterpret_cast<const char*>(data), size});
  if (!all.ok()) {
    require_line(all.status());
    return 0;
  }
  for (const astray::PrometheusSeries& series : *all) {
    for (const auto& [time, value] : series.points) require(!std::isinf(value));
    for (const std::vector<std::string>& by : {std::vector<std::string>{}, {"cpu"}}) {
      const auto name = astray::PrometheusSeriesName("up", series.labels, by);
      if (name.ok()) {
        require(name->size() <= 256);
      } else {
        require_line(name.status());
      }
    }
  }
  return 0;
}
