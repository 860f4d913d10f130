// Polls a Prometheus: one row a step, a model's features by the names of its series.
//
// A series that is missing is NaN, one that the model does not know is passed over, with a note. What fails is noted
// once an outage and asked for again at the next step, with the steps in between, so that an outage of up to
// kMaxStepsBack steps loses nothing. A wrong query ends the source.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/notes.h"
#include "client/prometheus_client.h"
#include "client/row_source.h"

namespace astray {

class PrometheusRows : public RowSource {
 public:
  static constexpr int64_t kMaxStepsBack = 1000;

  // Begins with the step at hand. notes may be null, and outlive the source.
  PrometheusRows(PrometheusClient client, const std::vector<std::string>& feature_names, int stop_fd, Notes* notes);

  absl::StatusOr<bool> Next(Row* row) override;

 private:
  absl::Status WaitFor(int64_t step) const;  // Cancelled
  absl::Status Poll(int64_t last);           // the steps since the last success
  void Say(const std::string& text) const;

  PrometheusClient client_;
  std::map<std::string, size_t, std::less<>> positions_;  // of features
  int stop_fd_;
  Notes* notes_;
  int64_t next_;  // step to ask for
  uint64_t row_ = 0;
  bool lost_ = false, extra_told_ = false;
  std::deque<Row> rows_;
};

}  // namespace astray
