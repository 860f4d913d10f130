#include "client/hindsight_scoring.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <iterator>
#include <list>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/shown_text.h"
#include "engine/base/status_macros.h"
#include "engine/data/event_time.h"
#include "engine/detect/alarm_tracker.h"
#include "engine/detect/calibration_samples.h"
#include "engine/detect/entity_streams.h"
#include "engine/detect/hindsight.h"
#include "engine/detect/row_order.h"
#include "engine/detect/verdict_message.h"

namespace astray {
namespace {

constexpr size_t kMaxWaitingValues = size_t{1} << 22;  // 16 MiB, however wide a row is

size_t AtMost(size_t rows, size_t features) { return std::clamp<size_t>(kMaxWaitingValues / features, 1, rows); }

class HindsightScoring {
 public:
  HindsightScoring(const Detector& detector, const StreamPolicy& policy, const HindsightScoringOptions& options,
                   const ConsumeVerdict& consume)
      : detector_(detector),
        calibration_(detector.model().hindsight->calibration),
        policy_(policy),
        consume_(consume),
        timed_(options.timed),
        slice_rows_(AtMost(HindsightScoringOptions::kSliceRows, detector.features())),
        group_rows_(AtMost(options.group_rows, detector.features())),
        capacity_(HindsightCapacity(detector.features(), detector.window())) {}

  absl::Status Add(const Row& row);
  // All rows so far, as far as they are settled.
  absl::Status ScoreWaiting();
  absl::Status Finish();

 private:
  // A row without a verdict.
  struct OpenRow {
    uint64_t number;
    std::string timestamp;
    double time;  // 0: none
    uint32_t segment;
    v1::Verdict::State state;  // SCORED, unless it is known to have no score
  };
  struct Entity {
    Entity(absl::string_view entity, const Detector& detector, const StreamPolicy* policy)
        : name(entity), order(policy), alarm(policy), hindsight(detector) {}
    std::string name;
    RowOrder order;
    std::map<uint64_t, Row> held;  // that wait for late ones, by number
    AlarmTracker alarm;
    Hindsight hindsight;
    std::vector<float> rows;  // the last window - 1 that were scored, and new ones
    size_t new_rows = 0;
    std::deque<OpenRow> open;  // new ones, and those not settled
  };

  absl::Status Check(const Row& row, std::optional<double>* time) const;
  absl::StatusOr<Entity*> Of(absl::string_view name);
  absl::Status TakeHeld(Entity* entity);  // what next_ says
  absl::Status GoOn(Entity* entity, const Row& row, double time, bool restart);
  void PassOver(Entity* entity, const Row& row, v1::Verdict::State state);
  OpenRow Open(const Row& row, double time, v1::Verdict::State state) const;

  absl::Status Score(Entity* entity);      // its new rows
  absl::Status EndStream(Entity* entity);  // every row gets its verdict
  absl::Status EndOldest();                // the entity silent longest
  void Settle(Entity* entity);             // by settled_
  void GivePassedOver(Entity* entity);     // those that no open row is before
  void Give(Entity* entity, v1::Verdict::State state, float error);

  const Detector& detector_;
  const Calibration& calibration_;
  const StreamPolicy& policy_;
  const ConsumeVerdict& consume_;
  const bool timed_;
  const size_t slice_rows_, group_rows_, capacity_;
  std::list<Entity> entities_;                                                  // the one asked for last is first
  absl::flat_hash_map<absl::string_view, std::list<Entity>::iterator> places_;  // keys are the entities' names
  size_t waiting_rows_ = 0;                                                     // new rows of all
  size_t held_rows_ = 0;
  // Scratch.
  std::vector<RowOrder::Next> next_;
  std::vector<float> settled_;
  Row shown_;
  v1::Verdict verdict_;
};

absl::Status HindsightScoring::Check(const Row& row, std::optional<double>* time) const {
  absl::Status status = EntityStreams::CheckName(row.entity);
  if (status.ok()) status = CalibrationSamples::CheckSegment(row.segment);
  if (!status.ok()) return absl::InvalidArgumentError(absl::StrCat("row ", row.number, ": ", status.message()));
  if (!timed_ || row.timestamp.empty()) return absl::OkStatus();
  *time = ParseEventTime(row.timestamp);
  if (*time) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("row ", row.number,
                                                 ": timestamp: expected a date and time or seconds since 1970, got \"",
                                                 ShownText(row.timestamp), "\""));
}

absl::StatusOr<HindsightScoring::Entity*> HindsightScoring::Of(absl::string_view name) {
  if (const auto known = places_.find(name); known != places_.end()) {
    entities_.splice(entities_.begin(), entities_, known->second);
    return &entities_.front();
  }
  if (entities_.size() == capacity_) RETURN_IF_ERROR(EndOldest());
  entities_.emplace_front(name, detector_, &policy_);
  places_.emplace(entities_.front().name, entities_.begin());
  return &entities_.front();
}

absl::Status HindsightScoring::Add(const Row& row) {
  std::optional<double> time;
  RETURN_IF_ERROR(Check(row, &time));
  ASSIGN_OR_RETURN(Entity* const entity, Of(row.entity));
  if (!time) {
    entity->order.ReleaseAll(&next_);
    RETURN_IF_ERROR(TakeHeld(entity));
    return GoOn(entity, row, 0, /*restart=*/false);
  }
  const RowOrder::Place place = entity->order.Take(row.number, *time, &next_);
  if (place != RowOrder::Place::kTaken) {
    PassOver(entity, row, place == RowOrder::Place::kLate ? v1::Verdict::LATE : v1::Verdict::DUPLICATE);
    return absl::OkStatus();
  }
  // Mostly it goes on itself and nothing waits.
  if (next_.size() == 1 && next_.front().row == row.number) {
    const RowOrder::Next next = next_.front();
    next_.clear();
    return GoOn(entity, row, next.time, next.restart);
  }
  entity->held.emplace(row.number, row);
  if (++held_rows_ * detector_.features() > kMaxWaitingValues) entity->order.ReleaseAll(&next_);
  return TakeHeld(entity);
}

absl::Status HindsightScoring::TakeHeld(Entity* entity) {
  for (const RowOrder::Next& next : next_) {
    const auto held = entity->held.extract(next.row);
    --held_rows_;
    RETURN_IF_ERROR(GoOn(entity, held.mapped(), next.time, next.restart));
  }
  next_.clear();
  return absl::OkStatus();
}

HindsightScoring::OpenRow HindsightScoring::Open(const Row& row, double time, v1::Verdict::State state) const {
  return {.number = row.number,
          .timestamp = row.timestamp,
          .time = time,
          .segment = calibration_.SegmentIndex(row.segment),
          .state = state};
}

absl::Status HindsightScoring::GoOn(Entity* entity, const Row& row, double time, bool restart) {
  if (restart) {
    RETURN_IF_ERROR(EndStream(entity));
    entity->alarm.Restart();
  }
  entity->rows.insert(entity->rows.end(), row.values.begin(), row.values.end());
  entity->open.push_back(Open(row, time, v1::Verdict::SCORED));
  ++waiting_rows_;
  if (++entity->new_rows == slice_rows_) RETURN_IF_ERROR(Score(entity));
  return waiting_rows_ < group_rows_ ? absl::OkStatus() : ScoreWaiting();
}

void HindsightScoring::PassOver(Entity* entity, const Row& row, v1::Verdict::State state) {
  entity->open.push_back(Open(row, 0, state));
  // Of a great many without another row between, each comes out at once: nothing may pile up.
  if (entity->open.size() > 2 * (slice_rows_ + entity->hindsight.rows_later())) {
    const OpenRow last = std::move(entity->open.back());
    entity->open.pop_back();
    entity->open.push_front(last);
  }
  GivePassedOver(entity);
}

absl::Status HindsightScoring::Score(Entity* entity) {
  if (entity->new_rows == 0) return absl::OkStatus();
  settled_.clear();
  const auto look_back = [&](const RebuiltVectors& windows, std::span<const float> errors) {
    entity->hindsight.Add(windows, errors, &settled_);
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(detector_.VisitJudged(entity->rows, 1, look_back));
  Settle(entity);
  waiting_rows_ -= std::exchange(entity->new_rows, 0);
  // Anew, with no more room than it takes: there may be many entities.
  const size_t kept = std::min(entity->rows.size(), (detector_.window() - 1) * detector_.features());
  entity->rows = std::vector<float>(entity->rows.end() - static_cast<std::ptrdiff_t>(kept), entity->rows.end());
  return absl::OkStatus();
}

absl::Status HindsightScoring::ScoreWaiting() {
  for (Entity& entity : entities_) RETURN_IF_ERROR(Score(&entity));
  return absl::OkStatus();
}

absl::Status HindsightScoring::EndStream(Entity* entity) {
  RETURN_IF_ERROR(Score(entity));
  settled_.clear();
  entity->hindsight.Finish(&settled_);
  Settle(entity);
  // All of them where there was no window.
  while (!entity->open.empty()) {
    Give(entity, v1::Verdict::WARMING_UP, 0);
    GivePassedOver(entity);
  }
  entity->rows.clear();
  return absl::OkStatus();
}

absl::Status HindsightScoring::EndOldest() {
  Entity& oldest = entities_.back();
  oldest.order.ReleaseAll(&next_);
  RETURN_IF_ERROR(TakeHeld(&oldest));
  RETURN_IF_ERROR(EndStream(&oldest));
  places_.erase(oldest.name);
  entities_.pop_back();
  return absl::OkStatus();
}

absl::Status HindsightScoring::Finish() {
  while (!entities_.empty()) RETURN_IF_ERROR(EndOldest());
  return absl::OkStatus();
}

void HindsightScoring::Settle(Entity* entity) {
  for (const float error : settled_) {
    Give(entity, std::isnan(error) ? v1::Verdict::ALL_MISSING : v1::Verdict::SCORED, error);
    GivePassedOver(entity);
  }
}

void HindsightScoring::GivePassedOver(Entity* entity) {
  while (!entity->open.empty() && entity->open.front().state != v1::Verdict::SCORED) {
    Give(entity, entity->open.front().state, 0);
  }
}

void HindsightScoring::Give(Entity* entity, v1::Verdict::State state, float error) {
  OpenRow& row = entity->open.front();
  verdict_.Clear();
  FillUnscored(state, &verdict_);
  if (state == v1::Verdict::SCORED) {
    const Calibration::Judgement judgement = calibration_.Judge(error, row.segment, /*missing_level=*/0);
    verdict_.set_error(error);
    verdict_.set_threshold(judgement.threshold);
    verdict_.set_p_value(judgement.p_value);
    verdict_.set_score(ScoreOf(error, judgement.threshold));
    verdict_.set_anomalous(verdict_.score() > 1);
    entity->alarm.Update(row.time, &verdict_);
  }
  shown_.number = row.number;
  shown_.timestamp = std::move(row.timestamp);
  shown_.entity = entity->name;
  entity->open.pop_front();
  consume_(shown_, verdict_);
}

}  // namespace

size_t HindsightCapacity(size_t features, size_t window) {
  constexpr size_t kValuesOfARow = 20;  // what it takes beside its values, as though it had so many more
  return EntityStreams::Capacity(features + kValuesOfARow, window);
}

absl::Status CheckHindsight(const Detector& detector) {
  const DetectorModel& model = detector.model();
  if (model.hindsight) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(model.name, " version ", model.version, ": has no hindsight: it ",
                   detector.window() < 2 ? "judges rows alone, not in a window"
                                         : "was made before hindsight was, or no value was held out: train again"));
}

absl::Status ScoreInHindsight(const Detector& detector, const StreamPolicy& policy,
                              const HindsightScoringOptions& options, RowSource* source,
                              const ConsumeVerdict& consume) {
  HindsightScoring scoring(detector, policy, options, consume);
  Row row;
  while (true) {
    const absl::StatusOr<bool> more = source->Next(&row);
    absl::Status status = more.ok() && *more ? scoring.Add(row) : more.status();
    if (!status.ok()) {
      // What is not settled would be otherwise, had the file gone on.
      RETURN_IF_ERROR(scoring.ScoreWaiting());
      return status;
    }
    if (!*more) return scoring.Finish();
  }
}

}  // namespace astray
