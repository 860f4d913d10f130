#include "server/entity_windows.h"

#include <algorithm>

namespace astray {

EntityWindows::EntityWindows(size_t features, size_t window, Metrics* metrics)
    : features_(features),
      window_(window),
      capacity_(std::clamp(kMaxValues / (features * window), kMinEntities, kMaxEntities)),
      metrics_(metrics) {}

EntityWindows::~EntityWindows() { metrics_->stream_entities().Decrement(static_cast<double>(entities_.size())); }

RowHistory& EntityWindows::Of(absl::string_view entity) {
  if (const auto known = places_.find(entity); known != places_.end()) {
    entities_.splice(entities_.begin(), entities_, known->second);
    return entities_.front().history;
  }
  if (entities_.size() == capacity_) {
    places_.erase(entities_.back().name);
    entities_.pop_back();
    metrics_->stream_entities().Decrement();
    metrics_->stream_entities_dropped().Increment();
  }
  entities_.push_front({.name = std::string(entity), .history = RowHistory(features_, window_)});
  places_.emplace(entities_.front().name, entities_.begin());
  metrics_->stream_entities().Increment();
  return entities_.front().history;
}

}  // namespace astray
