#include "engine/detect/entity_streams.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/detect/calibration_samples.h"
#include "engine/detect/verdict_message.h"

namespace astray {
namespace {

// A row that waits is known by its request's serial number and its place there.
constexpr int kRowBits = 24;

// Of rows that wait no longer, how many are kept until they are looked for.
constexpr size_t kSpareWaiting = 4096;

uint64_t RowNumber(uint64_t serial, int row) { return (serial << kRowBits) | static_cast<uint64_t>(row); }
uint64_t SerialOf(uint64_t number) { return number >> kRowBits; }
int RowOf(uint64_t number) { return static_cast<int>(number & ((uint64_t{1} << kRowBits) - 1)); }

}  // namespace

EntityStreams::EntityStreams(size_t features, size_t window, const StreamPolicy& policy)
    : features_(features), window_(window), capacity_(Capacity(features, window)), policy_(policy) {}

size_t EntityStreams::Capacity(size_t features, size_t window) {
  return std::clamp(kMaxValues / (features * window), kMinEntities, kMaxEntities);
}

absl::Status EntityStreams::CheckName(absl::string_view entity) {
  if (entity.size() <= kMaxNameBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("entity: expected at most ", kMaxNameBytes, " bytes, got ", entity.size()));
}

absl::Status EntityStreams::Check(const v1::ScoreStreamRequest& request) const {
  RETURN_IF_ERROR(CheckName(request.entity()));
  RETURN_IF_ERROR(CalibrationSamples::CheckSegment(request.segment()));
  const size_t rows = static_cast<size_t>(request.values_size()) / features_;
  if (rows >= size_t{1} << kRowBits) {
    return absl::InvalidArgumentError(
        absl::StrCat("values: expected fewer than ", size_t{1} << kRowBits, " rows, got ", rows));
  }
  const auto times = static_cast<size_t>(request.time_unix_seconds_size());
  if (times != 0 && times != rows) {
    return absl::InvalidArgumentError(
        absl::StrCat("time_unix_seconds: expected none or ", rows, ", one a row, got ", times));
  }
  for (const double time : request.time_unix_seconds()) {
    if (!std::isfinite(time)) {
      return absl::InvalidArgumentError(absl::StrCat("time_unix_seconds: expected seconds since 1970, got ", time));
    }
  }
  return absl::OkStatus();
}

EntityStreams::Entity& EntityStreams::Of(absl::string_view name) {
  if (const auto known = places_.find(name); known != places_.end()) {
    entities_.splice(entities_.begin(), entities_, known->second);
    return entities_.front();
  }
  if (entities_.size() == capacity_) DropOldest();
  entities_.emplace_front(name, &policy_);
  places_.emplace(entities_.front().name, entities_.begin());
  return entities_.front();
}

void EntityStreams::DropOldest() {
  Entity& oldest = entities_.back();
  places_.erase(oldest.name);
  ++counts_.dropped_entities;
  if (oldest.order.held() == 0 && oldest.new_rows.empty()) {
    entities_.pop_back();
    return;
  }
  // Once what it still owes is scored.
  leaving_.splice(leaving_.begin(), entities_, std::prev(entities_.end()));
  leaving_.front().order.ReleaseAll(&next_);
  TakeNext(&leaving_.front());
}

void EntityStreams::GoOn(Entity* entity, uint64_t serial, int row, double time, bool restart) {
  if (entity->new_rows.empty()) touched_.push_back(entity);
  Pending& pending = pending_.find(serial)->second;
  const auto values =
      pending.request.values().begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(row) * features_);
  entity->rows.insert(entity->rows.end(), values, values + static_cast<std::ptrdiff_t>(features_));
  entity->new_rows.push_back({.pending = &pending, .serial = serial, .row = row, .time = time, .restart = restart});
  if (restart) ++counts_.gaps;
}

void EntityStreams::TakeNext(Entity* entity) {
  for (const RowOrder::Next& next : next_) {
    GoOn(entity, SerialOf(next.row), RowOf(next.row), next.time, next.restart);
  }
  held_rows_ -= next_.size();
  next_.clear();
}

void EntityStreams::Add(v1::ScoreStreamRequest request, absl::Time arrival) {
  Entity& entity = Of(request.entity());
  const uint64_t serial = next_serial_++;
  Pending& pending = pending_[serial];
  pending.request = std::move(request);
  pending.reply.arrival = arrival;
  const int rows = static_cast<int>(static_cast<size_t>(pending.request.values_size()) / features_);
  auto* verdicts = pending.reply.response.mutable_verdicts();
  verdicts->Reserve(rows);
  for (int row = 0; row < rows; ++row) verdicts->Add();
  pending.open_rows = static_cast<size_t>(rows);
  const bool timed = pending.request.time_unix_seconds_size() > 0;
  for (int row = 0; row < rows; ++row) {
    if (!timed) {
      entity.order.ReleaseAll(&next_);
      TakeNext(&entity);
      GoOn(&entity, serial, row, 0, /*restart=*/false);
      continue;
    }
    const double time = pending.request.time_unix_seconds(row);
    pending.reply.newest_unix_seconds = std::max(pending.reply.newest_unix_seconds, time);
    RowOrder::Place place = RowOrder::Place::kTaken;
    if (pending.request.replay()) {
      entity.order.Replay(RowNumber(serial, row), time, &next_);
    } else {
      place = entity.order.Take(RowNumber(serial, row), time, &next_);
    }
    if (place != RowOrder::Place::kTaken) {
      const bool late = place == RowOrder::Place::kLate;
      FillUnscored(late ? v1::Verdict::LATE : v1::Verdict::DUPLICATE, verdicts->Mutable(row));
      ++(late ? counts_.late_rows : counts_.duplicate_rows);
      --pending.open_rows;
      continue;
    }
    if (policy_.tolerance_seconds > 0) waiting_.emplace_back(arrival, RowNumber(serial, row));
    if (++held_rows_ * features_ > kMaxValues) entity.order.ReleaseAll(&next_);
    TakeNext(&entity);
  }
  if (pending.open_rows == 0) complete_.push_back(serial);
}

void EntityStreams::ReleaseAll() {
  for (Entity& entity : entities_) {
    entity.order.ReleaseAll(&next_);
    TakeNext(&entity);
  }
  waiting_.clear();
}

void EntityStreams::ReleaseWaitedFor(absl::Time now) {
  for (; next_release() <= now; waiting_.pop_front()) {
    const uint64_t number = waiting_.front().second;
    const auto pending = pending_.find(SerialOf(number));
    if (pending == pending_.end()) continue;
    const v1::ScoreStreamRequest& request = pending->second.request;
    const auto place = places_.find(request.entity());
    if (place == places_.end()) continue;
    Entity& entity = *place->second;
    entity.order.Release(request.time_unix_seconds(RowOf(number)), &next_);
    TakeNext(&entity);
  }
}

absl::Time EntityStreams::next_release() const {
  return waiting_.empty() ? absl::InfiniteFuture() : waiting_.front().first + absl::Seconds(policy_.tolerance_seconds);
}

void EntityStreams::MakePieces(Entity* entity) {
  const size_t first_new = entity->rows.size() / features_ - entity->new_rows.size();
  bool open = false;  // the last piece goes on with the next row
  for (size_t i = 0; i < entity->new_rows.size(); ++i) {
    const NewRow& row = entity->new_rows[i];
    const size_t place = first_new + i;
    if (row.restart) {
      entity->first_row = place;
      open = false;
    }
    if (place - entity->first_row + 1 < window_) {
      FillUnscored(v1::Verdict::WARMING_UP, row.verdict());
      continue;
    }
    const bool replay = row.pending->request.replay();
    const absl::string_view segment = row.pending->request.segment();
    if (!open || pieces_.back().replay != replay || pieces_.back().segment != segment) {
      pieces_.push_back({.rows = {}, .verdicts = {}, .segment = segment, .replay = replay});
      open = true;
    }
    Piece& piece = pieces_.back();
    piece.verdicts.push_back(row.verdict());
    const size_t rows = piece.verdicts.size() + window_ - 1;
    piece.rows = std::span<const float>(entity->rows).subspan((place + 1 - rows) * features_, rows * features_);
  }
}

const std::vector<EntityStreams::Piece>& EntityStreams::Pieces() {
  for (Entity* entity : touched_) MakePieces(entity);
  return pieces_;
}

void EntityStreams::FinishRows(Entity* entity) {
  for (const NewRow& row : entity->new_rows) {
    if (row.restart) entity->alarm.Restart();
    const v1::ScoreStreamRequest& request = row.pending->request;
    if (request.replay()) {
      entity->alarm.Observe(row.time, *row.verdict());
      if (row.pending->open_rows == 1) entity->alarm.Restore(request.alarm());
    } else {
      entity->alarm.Update(row.time, row.verdict());
    }
    if (--row.pending->open_rows == 0) complete_.push_back(row.serial);
  }
  entity->new_rows.clear();
  const size_t rows = entity->rows.size() / features_;
  const size_t kept = std::min(rows - entity->first_row, window_ - 1);
  entity->rows.erase(entity->rows.begin(), entity->rows.end() - static_cast<std::ptrdiff_t>(kept * features_));
  entity->first_row = 0;
}

std::vector<EntityStreams::Reply> EntityStreams::Finish() {
  pieces_.clear();
  for (Entity* entity : touched_) FinishRows(entity);
  touched_.clear();
  leaving_.clear();
  if (policy_.tolerance_seconds <= 0) std::ranges::sort(complete_);
  std::vector<Reply> replies;
  replies.reserve(complete_.size());
  for (const uint64_t serial : complete_) {
    const auto done = pending_.find(serial);
    Pending& pending = done->second;
    if (!pending.request.replay()) {
      pending.reply.response.set_id(std::move(*pending.request.mutable_id()));
      pending.reply.response.set_entity(std::move(*pending.request.mutable_entity()));
      replies.push_back(std::move(pending.reply));
    }
    pending_.erase(done);
  }
  complete_.clear();
  if (waiting_.size() > 2 * held_rows_ + kSpareWaiting) {
    std::erase_if(waiting_, [&](const auto& row) { return !pending_.contains(SerialOf(row.second)); });
  }
  return replies;
}

}  // namespace astray
