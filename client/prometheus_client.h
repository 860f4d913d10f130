// Asks a Prometheus for its series at the steps of a clock that starts at 1970: step k is at time k * step. The same
// series has the same name wherever it comes from, so what was learnt from a range can be scored live. Not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace CLI {
class App;  // <CLI/CLI.hpp> takes seconds: only what adds options includes it
}

namespace astray {

// --query, --step and --by, as the command line has them.
struct PrometheusFlags {
  std::vector<std::string> queries;  // PromQL
  std::string step = "15s";
  std::vector<std::string> by;  // labels that names keep; empty: all

  void Add(CLI::App* command);
};

bool IsPrometheusSource(absl::string_view text);  // prometheus:http://host:9090

// A feature and its readings by step, NaN where it is no finite number; steps without one are not there.
struct PrometheusFeature {
  std::string name;
  std::vector<std::pair<int64_t, float>> readings;
};

class PrometheusClient {
 public:
  // Usage errors name the flag.
  static absl::StatusOr<PrometheusClient> Make(absl::string_view source, const PrometheusFlags& flags, int stop_fd);

  // The features of all queries at steps first to last: an instant query for one step, else a range. Once
  // - InvalidArgument: the query is wrong, or its series cannot be told apart by name;
  // - Cancelled, ResourceExhausted: HttpFetch's;
  // - otherwise Prometheus is not there, or answered something else: Unavailable and DataLoss.
  // Errors name URL and query.
  absl::StatusOr<std::vector<PrometheusFeature>> Ask(int64_t first, int64_t last) const;

  absl::Duration step() const { return absl::Milliseconds(step_ms_); }
  absl::Time TimeOf(int64_t k) const { return absl::UnixEpoch() + k * step(); }
  int64_t StepAt(absl::Time time) const;  // the last one until then
  const std::string& shown_url() const { return shown_url_; }

 private:
  PrometheusClient() = default;
  absl::Status AskOne(const std::string& query, int64_t first, int64_t last,
                      std::vector<PrometheusFeature>* features) const;

  std::string url_, shown_url_;  // the latter without a password
  std::vector<std::string> queries_, by_;
  int64_t step_ms_ = 0;
  int stop_fd_ = -1;
};

}  // namespace astray
