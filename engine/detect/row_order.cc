#include "engine/detect/row_order.h"

#include <algorithm>
#include <cmath>

namespace astray {

bool RowOrder::WentOn(double time) const {
  const auto end = went_on_.begin() + static_cast<std::ptrdiff_t>(std::min(went_on_count_, kRememberedTimes));
  return std::find(went_on_.begin(), end, time) != end;
}

void RowOrder::GoOn(uint64_t row, double time, bool restart, std::vector<Next>* next) {
  const bool gap = policy_->max_gap_seconds > 0 && std::isfinite(last_) && time - last_ > policy_->max_gap_seconds;
  next->push_back({.row = row, .time = time, .restart = restart || gap});
  last_ = time;
  went_on_[went_on_count_++ % kRememberedTimes] = time;
}

RowOrder::Place RowOrder::Take(uint64_t row, double time, std::vector<Next>* next) {
  if (WentOn(time) || held_.contains(time)) return Place::kDuplicate;
  if (time < last_) {
    late_rows_ = time > last_late_ ? late_rows_ + 1 : 1;
    last_late_ = time;
    if (late_rows_ < kClockSetBackRows) return Place::kLate;
    ReleaseAll(next);
    went_on_count_ = 0;
    newest_ = time;
    late_rows_ = 0;
    last_late_ = -std::numeric_limits<double>::infinity();
    GoOn(row, time, /*restart=*/true, next);
    return Place::kTaken;
  }
  late_rows_ = 0;
  last_late_ = -std::numeric_limits<double>::infinity();
  newest_ = std::max(newest_, time);
  if (policy_->tolerance_seconds <= 0) {
    GoOn(row, time, /*restart=*/false, next);
    return Place::kTaken;
  }
  held_.emplace(time, row);
  Release(newest_ - policy_->tolerance_seconds, next);
  if (held_.size() > kMaxHeldRows) Release(held_.begin()->first, next);
  return Place::kTaken;
}

void RowOrder::Replay(uint64_t row, double time, std::vector<Next>* next) {
  ReleaseAll(next);
  newest_ = std::max(newest_, time);
  GoOn(row, time, /*restart=*/time < last_, next);
}

void RowOrder::Release(double up_to, std::vector<Next>* next) {
  while (!held_.empty() && held_.begin()->first <= up_to) {
    GoOn(held_.begin()->second, held_.begin()->first, /*restart=*/false, next);
    held_.erase(held_.begin());
  }
}

}  // namespace astray
