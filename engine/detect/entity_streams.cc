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

void EntityStreams::GoOn(Entity* entity, Exchange* exchange, int row, double time, bool restart) {
  if (entity->new_rows.empty()) touched_.push_back(entity);
  const auto values =
      exchange->request.values().begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(row) * features_);
  entity->rows.insert(entity->rows.end(), values, values + static_cast<std::ptrdiff_t>(features_));
  entity->new_rows.push_back({.exchange = exchange, .row = row, .time = time, .restart = restart});
  if (restart) ++counts_.gaps;
}

void EntityStreams::TakeNext(Entity* entity) {
  for (const RowOrder::Next& next : next_) {
    GoOn(entity, pending_.find(SerialOf(next.row))->second.get(), RowOf(next.row), next.time, next.restart);
  }
  held_rows_ -= next_.size();
  next_.clear();
}

void EntityStreams::Add(std::unique_ptr<Exchange> taken) {
  const uint64_t serial = next_serial_++;
  Exchange* exchange = taken.get();
  pending_.emplace(serial, std::move(taken));
  const v1::ScoreStreamRequest& request = exchange->request;
  Entity& entity = Of(request.entity());
  const int rows = static_cast<int>(static_cast<size_t>(request.values_size()) / features_);
  auto* verdicts = exchange->response.mutable_verdicts();
  verdicts->Reserve(rows);
  for (int row = 0; row < rows; ++row) verdicts->Add();
  exchange->newest_unix_seconds = 0;
  exchange->serial = serial;
  exchange->open_rows = static_cast<size_t>(rows);
  const bool timed = request.time_unix_seconds_size() > 0;
  for (int row = 0; row < rows; ++row) {
    if (!timed) {
      entity.order.ReleaseAll(&next_);
      TakeNext(&entity);
      GoOn(&entity, exchange, row, 0, /*restart=*/false);
      continue;
    }
    const double time = request.time_unix_seconds(row);
    exchange->newest_unix_seconds = std::max(exchange->newest_unix_seconds, time);
    RowOrder::Place place = RowOrder::Place::kTaken;
    if (request.replay()) {
      entity.order.Replay(RowNumber(serial, row), time, &next_);
    } else {
      place = entity.order.Take(RowNumber(serial, row), time, &next_);
    }
    if (place != RowOrder::Place::kTaken) {
      const bool late = place == RowOrder::Place::kLate;
      FillUnscored(late ? v1::Verdict::LATE : v1::Verdict::DUPLICATE, verdicts->Mutable(row));
      ++(late ? counts_.late_rows : counts_.duplicate_rows);
      --exchange->open_rows;
      continue;
    }
    if (policy_.tolerance_seconds > 0) waiting_.emplace_back(exchange->arrival, RowNumber(serial, row));
    if (++held_rows_ * features_ > kMaxValues) entity.order.ReleaseAll(&next_);
    TakeNext(&entity);
  }
  if (exchange->open_rows == 0) complete_.push_back(exchange);
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
    const v1::ScoreStreamRequest& request = pending->second->request;
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
    const bool replay = row.exchange->request.replay();
    const absl::string_view segment = row.exchange->request.segment();
    if (!open || pieces_.back().replay != replay || pieces_.back().segment != segment) {
      pieces_.push_back({.rows = {}, .verdicts = {}, .segment = segment, .replay = replay});
      open = true;
    }
    Piece& piece = pieces_.back();
    verdicts_.push_back(row.verdict());
    piece.verdicts = std::span(verdicts_).last(piece.verdicts.size() + 1);
    const size_t rows = piece.verdicts.size() + window_ - 1;
    piece.rows = std::span<const float>(entity->rows).subspan((place + 1 - rows) * features_, rows * features_);
  }
}

const std::vector<EntityStreams::Piece>& EntityStreams::Pieces() {
  size_t new_rows = 0;
  for (const Entity* entity : touched_) new_rows += entity->new_rows.size();
  verdicts_.reserve(new_rows);  // pieces point into it
  for (Entity* entity : touched_) MakePieces(entity);
  return pieces_;
}

void EntityStreams::FinishRows(Entity* entity) {
  for (const NewRow& row : entity->new_rows) {
    if (row.restart) entity->alarm.Restart();
    Exchange* exchange = row.exchange;
    const v1::ScoreStreamRequest& request = exchange->request;
    if (request.replay()) {
      entity->alarm.Observe(row.time, *row.verdict());
      if (exchange->open_rows == 1) entity->alarm.Restore(request.alarm());
    } else {
      entity->alarm.Update(row.time, row.verdict());
    }
    if (--exchange->open_rows == 0) complete_.push_back(exchange);
  }
  entity->new_rows.clear();
  const size_t rows = entity->rows.size() / features_;
  const size_t kept = std::min(rows - entity->first_row, window_ - 1);
  entity->rows.erase(entity->rows.begin(), entity->rows.end() - static_cast<std::ptrdiff_t>(kept * features_));
  entity->first_row = 0;
}

std::vector<std::unique_ptr<EntityStreams::Exchange>> EntityStreams::Finish() {
  pieces_.clear();
  verdicts_.clear();
  for (Entity* entity : touched_) FinishRows(entity);
  touched_.clear();
  leaving_.clear();
  if (policy_.tolerance_seconds <= 0) std::ranges::sort(complete_, {}, &Exchange::serial);
  std::vector<std::unique_ptr<Exchange>> done;
  done.reserve(complete_.size());
  for (Exchange* exchange : complete_) {
    const auto place = pending_.find(exchange->serial);
    if (!exchange->request.replay()) {
      exchange->response.set_id(std::move(*exchange->request.mutable_id()));
      exchange->response.set_entity(std::move(*exchange->request.mutable_entity()));
      done.push_back(std::move(place->second));
    }
    pending_.erase(place);
  }
  complete_.clear();
  if (waiting_.size() > 2 * held_rows_ + kSpareWaiting) {
    std::erase_if(waiting_, [&](const auto& row) { return !pending_.contains(SerialOf(row.second)); });
  }
  return done;
}

}  // namespace astray
