#include "engine/detect/alarm_tracker.h"

#include <algorithm>

namespace astray {

void AlarmTracker::Observe(double time, const v1::Verdict& verdict) {
  if (verdict.state() != v1::Verdict::SCORED) return;
  rows_.push_back({.time = time, .score = verdict.score(), .smoothed = 0, .blamed = {}});
  double sum = 0;
  const size_t smoothed = std::min(rows_.size(), policy_->smoothing_rows);
  for (size_t i = rows_.size() - smoothed; i < rows_.size(); ++i) sum += rows_[i].score;
  rows_.back().smoothed = static_cast<float>(sum / static_cast<double>(smoothed));
  if (rows_.back().smoothed > 1) {
    rows_.back().blamed.assign(verdict.contributions().begin(), verdict.contributions().end());
  }
  if (rows_.size() > policy_->alarm_memory_rows() + 1) rows_.erase(rows_.begin());
}

size_t AlarmTracker::Anomalous() const {
  const size_t seen = std::min(rows_.size(), policy_->of_rows);
  return static_cast<size_t>(std::count_if(rows_.end() - static_cast<std::ptrdiff_t>(seen), rows_.end(),
                                           [](const SeenRow& row) { return row.smoothed > 1; }));
}

bool AlarmTracker::Calm() const {
  const size_t seen = std::min(rows_.size(), policy_->clear_rows);
  return seen == policy_->clear_rows &&
         std::all_of(rows_.end() - static_cast<std::ptrdiff_t>(seen), rows_.end(),
                     [&](const SeenRow& row) { return row.smoothed <= policy_->clear_below; });
}

void AlarmTracker::Join(const SeenRow& row) {
  alarm_->set_rows(alarm_->rows() + 1);
  if (row.smoothed <= 1) return;
  alarm_->set_anomalous_rows(alarm_->anomalous_rows() + 1);
  alarm_->set_peak_score(std::max(alarm_->peak_score(), row.smoothed));
  alarm_->set_total_score(alarm_->total_score() + row.smoothed);
  for (const v1::Contribution& contribution : row.blamed) {
    auto* causes = alarm_->mutable_causes();
    auto cause = std::find_if(causes->begin(), causes->end(),
                              [&](const v1::Alarm::Cause& known) { return known.feature() == contribution.feature(); });
    if (cause == causes->end()) {
      if (causes->size() == static_cast<int>(kMaxFeatures)) continue;
      causes->Add()->set_feature(contribution.feature());
      cause = causes->end() - 1;
    }
    cause->set_share(cause->share() + contribution.share() * row.smoothed);
  }
}

void AlarmTracker::Raise() {
  alarm_ = std::make_unique<v1::Alarm>();
  const size_t seen = std::min(rows_.size(), policy_->of_rows);
  auto first = rows_.end() - static_cast<std::ptrdiff_t>(seen);
  while (first->smoothed <= 1) ++first;
  alarm_->set_start_unix_seconds(first->time);
  for (auto row = first; row != rows_.end(); ++row) Join(*row);
}

void AlarmTracker::Update(double time, v1::Verdict* verdict) {
  if (verdict->state() != v1::Verdict::SCORED) return;
  Observe(time, *verdict);
  const bool above = Anomalous() >= policy_->raise_rows;
  if (alarm_ == nullptr) {
    if (!above) return;
    Raise();
    alarm_->set_state(v1::Alarm::RAISED);
    Show(verdict->mutable_alarm());
    return;
  }
  Join(rows_.back());
  const bool ended = !above && Calm();
  alarm_->set_state(ended ? v1::Alarm::ENDED : v1::Alarm::ONGOING);
  if (ended) alarm_->set_end_unix_seconds(time);
  Show(verdict->mutable_alarm());
  if (ended) alarm_.reset();
}

void AlarmTracker::Show(v1::Alarm* shown) const {
  *shown = *alarm_;
  auto* causes = shown->mutable_causes();
  std::stable_sort(causes->begin(), causes->end(),
                   [](const v1::Alarm::Cause& a, const v1::Alarm::Cause& b) { return a.share() > b.share(); });
  if (causes->size() > kMaxCauses) causes->DeleteSubrange(kMaxCauses, causes->size() - kMaxCauses);
  for (v1::Alarm::Cause& cause : *causes) cause.set_share(cause.share() / static_cast<float>(alarm_->total_score()));
}

void AlarmTracker::Restore(const v1::Alarm& alarm) {
  if (alarm.state() != v1::Alarm::RAISED && alarm.state() != v1::Alarm::ONGOING) return;
  alarm_ = std::make_unique<v1::Alarm>(alarm);
  for (v1::Alarm::Cause& cause : *alarm_->mutable_causes()) {
    cause.set_share(cause.share() * static_cast<float>(alarm.total_score()));
  }
}

}  // namespace astray
