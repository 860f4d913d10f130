// Rows of many entities in, verdicts out: one stream, in pieces of any size. Each entity has its window, the order of
// its rows and its alarm, in bounded memory: those silent longest are dropped. The same for a server's stream and for
// scoring without one.
//
//   streams.Add(std::move(exchange)) ...
//   for (const EntityStreams::Piece& piece : streams.Pieces()) score piece.rows, fill piece.verdicts
//   for (const auto& exchange : streams.Finish()) send exchange->response
//
// Not thread-safe; pieces may be scored on any threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "astray/v1/service.pb.h"
#include "engine/detect/alarm_tracker.h"
#include "engine/detect/row_order.h"
#include "engine/detect/stream_policy.h"

namespace astray {

class EntityStreams {
 public:
  static constexpr size_t kMaxEntities = 100'000;
  static constexpr size_t kMaxValues = size_t{1} << 24;  // of all windows: 64 MiB; and of all rows that wait
  static constexpr size_t kMinEntities = 256;            // whatever a window takes
  static constexpr size_t kMaxNameBytes = 256;

  struct Counts {
    uint64_t late_rows = 0, duplicate_rows = 0, gaps = 0, dropped_entities = 0;
  };
  // Rows to score together: window - 1 earlier ones, and one for each of `verdicts`, which are fresh.
  struct Piece {
    std::span<const float> rows;
    std::span<astray::v1::Verdict* const> verdicts;
    absl::string_view segment;  // of these rows
    bool replay = false;
  };
  // A request on its way through, and its reply. One that is done with may be filled anew: its messages keep the memory
  // that they have.
  struct Exchange {
    astray::v1::ScoreStreamRequest request;
    absl::Time arrival;
    astray::v1::ScoreResponse response;  // without provenance
    double newest_unix_seconds = 0;      // of its rows; 0 where they have no time

   private:
    friend class EntityStreams;
    uint64_t serial = 0;
    size_t open_rows = 0;
  };

  EntityStreams(size_t features, size_t window, const StreamPolicy& policy);
  EntityStreams(const EntityStreams&) = delete;
  EntityStreams& operator=(const EntityStreams&) = delete;

  // How many entities are kept.
  static size_t Capacity(size_t features, size_t window);
  // InvalidArgument for a name that is too long: "entity: expected at most 256 bytes, got 300".
  static absl::Status CheckName(absl::string_view entity);

  // Earlier rows of an entity on which a row's verdict and alarm depend.
  static size_t MemoryRows(size_t window, const StreamPolicy& policy) {
    return window - 1 + policy.alarm_memory_rows();
  }

  // All but the values. InvalidArgument names the field: "time_unix_seconds: expected none or 3, one a row, got 2".
  absl::Status Check(const astray::v1::ScoreStreamRequest& request) const;

  // Takes a checked request, with its arrival and an empty response. At most kMinEntities of them between two calls of
  // Finish.
  void Add(std::unique_ptr<Exchange> exchange);
  // What waits for late rows goes on: all of it, or what has waited for the tolerance.
  void ReleaseAll();
  void ReleaseWaitedFor(absl::Time now);
  absl::Time next_release() const;  // when ReleaseWaitedFor has something to do; InfiniteFuture where nothing waits

  // Of what went on since the last Finish; valid until the next one. Once.
  const std::vector<Piece>& Pieces();
  // When every piece was scored: those whose rows all have verdicts, but for replays, which have no reply. In the order
  // of the requests; where rows wait for late ones, each entity's in the order of its rows. Their requests are used up.
  std::vector<std::unique_ptr<Exchange>> Finish();

  const Counts& counts() const { return counts_; }
  size_t size() const { return entities_.size(); }
  size_t capacity() const { return capacity_; }

 private:
  struct NewRow {
    Exchange* exchange;
    int row;
    double time;
    bool restart;
    astray::v1::Verdict* verdict() const { return exchange->response.mutable_verdicts(row); }
  };
  struct Entity {
    Entity(absl::string_view entity, const StreamPolicy* policy) : name(entity), order(policy), alarm(policy) {}
    std::string name;
    std::vector<float> rows;  // the last window - 1 of the window's, and then new ones
    size_t first_row = 0;     // of `rows`, where the present window began
    std::vector<NewRow> new_rows;
    RowOrder order;
    AlarmTracker alarm;
  };

  Entity& Of(absl::string_view name);
  void DropOldest();
  void GoOn(Entity* entity, Exchange* exchange, int row, double time, bool restart);
  void TakeNext(Entity* entity);  // next_
  void MakePieces(Entity* entity);
  void FinishRows(Entity* entity);

  const size_t features_, window_, capacity_;
  const StreamPolicy policy_;
  Counts counts_;
  std::list<Entity> entities_;                                                  // the one asked for last is first
  absl::flat_hash_map<absl::string_view, std::list<Entity>::iterator> places_;  // keys are the entities' names
  std::list<Entity> leaving_;                                                   // dropped, with rows to score
  absl::flat_hash_map<uint64_t, std::unique_ptr<Exchange>> pending_;            // by serial number
  uint64_t next_serial_ = 0;
  std::vector<Entity*> touched_;  // have new rows
  std::vector<Exchange*> complete_;
  std::vector<astray::v1::Verdict*> verdicts_;  // of all pieces
  std::vector<Piece> pieces_;
  std::deque<std::pair<absl::Time, uint64_t>> waiting_;  // arrival and number of rows that waited, some no longer
  size_t held_rows_ = 0;                                 // that wait now
  std::vector<RowOrder::Next> next_;                     // scratch
};

}  // namespace astray
