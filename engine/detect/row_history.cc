#include "engine/detect/row_history.h"

#include <algorithm>

namespace astray {

RowHistory::RowHistory(size_t features, size_t window) : features_(features), window_(window) {}

std::span<const float> RowHistory::Extend(std::span<const float> new_rows) {
  if (window_ <= 1) return new_rows;
  const size_t kept = std::min(rows_.size(), (window_ - 1) * features_);
  rows_.erase(rows_.begin(), rows_.end() - static_cast<std::ptrdiff_t>(kept));
  rows_.insert(rows_.end(), new_rows.begin(), new_rows.end());
  warming_up_rows_ = std::min(new_rows.size() / features_, window_ - 1 - kept / features_);
  return rows_;
}

}  // namespace astray
