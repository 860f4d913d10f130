// The windows of a stream's entities, in bounded memory: those silent longest are dropped. Not thread-safe.
#pragma once

#include <cstddef>
#include <list>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "engine/detect/row_history.h"
#include "server/metrics.h"

namespace astray {

class EntityWindows {
 public:
  static constexpr size_t kMaxEntities = 100'000;
  static constexpr size_t kMaxValues = size_t{1} << 24;  // of all windows: 64 MiB
  static constexpr size_t kMinEntities = 256;            // whatever a window takes
  static constexpr size_t kMaxNameBytes = 256;

  // `metrics` must outlive it.
  EntityWindows(size_t features, size_t window, Metrics* metrics);
  ~EntityWindows();
  EntityWindows(const EntityWindows&) = delete;
  EntityWindows& operator=(const EntityWindows&) = delete;

  // The entity's window, an empty one where it is new. It stays where it is while fewer than kMinEntities others are
  // asked for.
  RowHistory& Of(absl::string_view entity);

  size_t size() const { return entities_.size(); }
  size_t capacity() const { return capacity_; }

 private:
  struct Entity {
    std::string name;
    RowHistory history;
  };

  size_t features_, window_, capacity_;
  Metrics* metrics_;
  std::list<Entity> entities_;                                                  // the one asked for last is first
  absl::flat_hash_map<absl::string_view, std::list<Entity>::iterator> places_;  // keys are the entities' names
};

}  // namespace astray
