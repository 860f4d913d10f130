#include "server/calibration_feedback.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "engine/base/sha256.h"
#include "engine/base/status_macros.h"
#include "server/feedback.h"

namespace astray {
namespace {

absl::string_view Bytes(std::span<const float> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

uint64_t NumberOf(std::span<const float> window) {
  const std::string digest = Sha256(Bytes(window));
  uint64_t number = 0;
  for (size_t i = 0; i < sizeof number; ++i) number |= uint64_t{static_cast<uint8_t>(digest[i])} << 8 * i;
  return number;
}

}  // namespace

CalibrationFeedback::CalibrationFeedback(const Detector& detector, const std::vector<v1::FeedbackRecord>& records)
    : detector_(detector) {
  for (const v1::FeedbackRecord& record : records) {
    std::optional<std::vector<float>> window = FeedbackWindow(detector, record);
    if (!window) continue;
    if (record.kind() == v1::FeedbackRecord::FALSE_ALARM) {
      false_alarms_.insert(false_alarms_.end(), window->begin(), window->end());
      segments_.push_back(record.segment());
    } else {
      const std::string newest(Bytes(std::span(*window).last(detector.features())));
      confirmed_[newest].push_back(*std::move(window));
    }
  }
}

bool CalibrationFeedback::IsConfirmed(std::span<const float> window) const {
  const auto windows = confirmed_.find(Bytes(window.last(detector_.features())));
  if (windows == confirmed_.end()) return false;
  return std::ranges::any_of(windows->second,
                             [&](const std::vector<float>& confirmed) { return Bytes(confirmed) == Bytes(window); });
}

void CalibrationFeedback::LeaveOutConfirmed(absl::string_view entity, std::span<const float> rows,
                                            std::span<Verdict> verdicts) {
  if (confirmed_.empty()) return;
  const size_t features = detector_.features(), window = detector_.window();
  const size_t count = rows.size() / features;
  if (count < window) return;
  const auto before = to_come_.find(entity);
  size_t left = before == to_come_.end() ? 0 : before->second;
  for (size_t i = 0; i + window <= count; ++i) {
    // This one, and those after it that hold its newest row.
    if (IsConfirmed(rows.subspan(i * features, window * features))) left = window;
    if (left == 0) continue;
    --left;
    if (verdicts[i].state == Verdict::State::kScored) ++left_out_;
    verdicts[i] = Verdict();
  }
  if (before != to_come_.end()) {
    before->second = left;
  } else if (left > 0) {
    to_come_.emplace(entity, left);
  }
}

absl::StatusOr<std::vector<CalibrationFeedback::FalseAlarm>> CalibrationFeedback::FalseAlarms() const {
  ScoreResult result;
  RETURN_IF_ERROR(detector_.ScoreWindows(false_alarms_, {.top_contributors = 0}, &result));
  std::vector<FalseAlarm> alarms;
  absl::flat_hash_set<uint64_t> seen;
  const size_t width = detector_.window() * detector_.features();
  for (size_t i = 0; i < result.verdicts.size(); ++i) {
    const Verdict& verdict = result.verdicts[i];
    const uint64_t window = NumberOf(std::span(false_alarms_).subspan(i * width, width));
    if (verdict.state != Verdict::State::kScored || !seen.insert(window).second) continue;
    alarms.push_back(
        {.window = window, .error = verdict.error, .missing_level = verdict.missing_level, .segment = segments_[i]});
  }
  return alarms;
}

}  // namespace astray
