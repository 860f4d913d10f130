#include "client/prometheus_rows.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/prometheus_range.h"
#include "engine/base/shown_text.h"
#include "engine/base/status_macros.h"

namespace astray {

PrometheusRows::PrometheusRows(PrometheusClient client, const std::vector<std::string>& feature_names, int stop_fd,
                               Notes* notes)
    : client_(std::move(client)), stop_fd_(stop_fd), notes_(notes), next_(client_.StepAt(absl::Now())) {
  for (size_t i = 0; i < feature_names.size(); ++i) positions_.emplace(feature_names[i], i);
}

void PrometheusRows::Say(const std::string& text) const {
  if (notes_ != nullptr) notes_->Say(text);
}

absl::Status PrometheusRows::WaitFor(int64_t step) const {
  pollfd stop = {stop_fd_, POLLIN, 0};
  for (;;) {
    const absl::Duration left = client_.TimeOf(step) - absl::Now();
    // Rounded up, and in parts: the clock may be set meanwhile.
    const int64_t wait_ms = std::clamp<int64_t>(absl::ToInt64Milliseconds(left) + 1, 0, 1000);
    const int woken = poll(&stop, 1, left <= absl::ZeroDuration() ? 0 : static_cast<int>(wait_ms));
    if (woken > 0) return absl::CancelledError("stopped");
    if (left <= absl::ZeroDuration()) return absl::OkStatus();
  }
}

absl::Status PrometheusRows::Poll(int64_t last) {
  const int64_t first = std::max(next_, last - kMaxStepsBack + 1);
  ASSIGN_OR_RETURN(const std::vector<PrometheusFeature> features, client_.Ask(first, last));
  if (first > next_) Say(absl::StrCat(client_.shown_url(), ": ", first - next_, " rows are lost"));
  const std::vector<float> missing(positions_.size(), std::numeric_limits<float>::quiet_NaN());
  for (int64_t k = first; k <= last; ++k) {
    rows_.push_back({.number = ++row_, .values = missing, .timestamp = FormatPrometheusTime(client_.TimeOf(k))});
  }
  size_t extra = 0;
  std::string name;
  for (const PrometheusFeature& feature : features) {
    const auto position = positions_.find(feature.name);
    if (position == positions_.end()) {
      name = feature.name;
      ++extra;
      continue;
    }
    for (const auto& [k, value] : feature.readings)
      rows_[static_cast<size_t>(k - first)].values[position->second] = value;
  }
  if (extra > 0 && !extra_told_) {
    Say(absl::StrCat(client_.shown_url(), ": passed over: ", extra, " series that the model does not know, such as ",
                     ShownText(name, 200)));
    extra_told_ = true;
  }
  next_ = last + 1;
  return absl::OkStatus();
}

absl::StatusOr<bool> PrometheusRows::Next(Row* row) {
  RETURN_IF_ERROR(WaitFor(0));  // long past: only whether it was stopped
  while (rows_.empty()) {
    RETURN_IF_ERROR(WaitFor(next_));
    const int64_t last = client_.StepAt(absl::Now());
    if (last < next_) continue;
    const absl::Status polled = Poll(last);
    if (polled.ok()) {
      if (std::exchange(lost_, false)) Say(absl::StrCat(client_.shown_url(), ": answers again"));
      continue;
    }
    if (absl::IsInvalidArgument(polled) || absl::IsCancelled(polled)) return polled;
    if (!std::exchange(lost_, true)) Say(absl::StrCat(polled.message(), "; trying again"));
    RETURN_IF_ERROR(WaitFor(last + 1));
  }
  *row = std::move(rows_.front());
  rows_.pop_front();
  return true;
}

}  // namespace astray
