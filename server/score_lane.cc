#include "server/score_lane.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/time/clock.h"
#include "engine/base/status_macros.h"
#include "server/held_writes.h"
#include "server/status.h"

namespace astray {
namespace {

// What a verdict counts in a slot that is to be used again.
constexpr size_t kVerdictBytes = 128;
constexpr size_t kSpareTurns = 8;
// A network of so many parameters pushes out of the second-level cache what gRPC had there, each time it runs. Before
// it does, calls are looked for as long as some come, but not more often than this.
constexpr size_t kLargeNetwork = size_t{1} << 18;
constexpr int kMostLooks = 8;
// So many replies wait for each other until they are sent.
constexpr size_t kHeldReplies = 32;

bool SameModel(const v1::ModelRef& a, const v1::ModelRef& b) {
  if (a.name() != b.name() || a.choice_case() != b.choice_case()) return false;
  return a.version() == b.version() && a.label() == b.label();
}

}  // namespace

void ScoreLane::Post(grpc::ServerContext* context, grpc::ByteBuffer* request, Writer* writer, LaneTag* tag) {
  service_->RequestScore(context, request, writer, lane().queue(), lane().queue(), tag);
}

bool ScoreLane::IsSmall(size_t request_bytes, const v1::ScoreResponse& response) const {
  return request_bytes + kVerdictBytes * static_cast<size_t>(response.verdicts_size()) <= kMostBytesKept;
}

void ScoreLane::Handle(Slot* slot) {
  if (arrived_.empty()) arrived_at_ = absl::Now();
  arrived_.push_back(slot);
  if (++calls_taken_ > 1 || !turns_.empty()) return;  // Proceed is still to come
  lane().Later(this);
  if (alone_) GoOn(arrived_at_);
}

void ScoreLane::Settled(Slot* slot) {
  if (slot->admitted) parts_.gate->Leave();
}

void ScoreLane::Proceed(bool /*ok*/) {
  alone_ = std::exchange(calls_taken_, 0) <= 1;
  if (arrived_.empty() && turns_.empty()) return;
  GoOn(absl::Now());
  if (!turns_.empty()) lane().Later(this);
}

void ScoreLane::GoOn(absl::Time now) {
  const bool some_arrived = !arrived_.empty();
  if (some_arrived) AdmitArrived();
  if (turns_.empty()) return;  // what arrived was refused, or went to the workers
  if (some_arrived && looks_ < kMostLooks && turns_.front().served.detector->parameter_count() >= kLargeNetwork) {
    ++looks_;
  } else {
    looks_ = 0;
    ScoreBatch(now);
  }
}

void ScoreLane::AdmitArrived() {
  // Later than every call's arrival: a promotion that was acknowledged before a call was sent is in it.
  const std::shared_ptr<const RegistrySnapshot> current = parts_.registry->Current();
  last_model_ = nullptr;
  for (Slot* slot : arrived_) {
    if (const absl::Status status = Admit(*current, slot); !status.ok()) Complete(slot, arrived_at_, status);
  }
  arrived_.clear();
}

absl::Status ScoreLane::Admit(const RegistrySnapshot& current, Slot* slot) {
  slot->admitted = parts_.gate->Enter();
  if (!slot->admitted) return absl::UnavailableError("the server is shutting down");
  RETURN_IF_ERROR(slot->parsed());
  ASSIGN_OR_RETURN(Turn * turn, FindTurn(current, slot->request().model()));
  ASSIGN_OR_RETURN(CheckedRequest checked,
                   CheckScoreRequest(turn->served, parts_.queue->queue_rows(), slot->request()));
  if (checked.verdicts > ScoringQueue::kBatchRows || checked.options.iterates())
    return Submit(turn->served, checked, slot);
  RETURN_IF_ERROR(parts_.queue->waiting_rows().Reserve(checked.verdicts));
  turn->waiting.push_back({.slot = slot, .checked = checked, .deadline = slot->deadline(), .arrived = arrived_at_});
  return absl::OkStatus();
}

absl::StatusOr<ScoreLane::Turn*> ScoreLane::FindTurn(const RegistrySnapshot& current, const v1::ModelRef& model) {
  if (last_model_ != nullptr && SameModel(*last_model_, model)) return last_turn_;
  ASSIGN_OR_RETURN(ServedDetector served, parts_.registry->Find(current, model));
  const auto same = std::ranges::find_if(turns_, [&](const Turn& turn) {
    return turn.served.detector == served.detector && turn.served.change == served.change &&
           turn.served.shadow == served.shadow;
  });
  if (same != turns_.end()) {
    last_turn_ = &*same;
  } else {
    turns_.push_back({.served = std::move(served), .waiting = {}});
    last_turn_ = &turns_.back();
    if (!spare_.empty()) {
      last_turn_->waiting = std::move(spare_.back());
      spare_.pop_back();
    }
  }
  last_model_ = &model;
  return last_turn_;
}

absl::Status ScoreLane::Submit(const ServedDetector& served, const CheckedRequest& checked, Slot* slot) {
  // The flag is the slot's, which outlives the job.
  const CallLimits limits = {.deadline = slot->deadline(),
                             .cancelled = {std::shared_ptr<const void>(), &slot->cancelled()}};
  return SubmitScore(
      served, checked, slot->request(), limits, parts_.queue, slot->response(),
      [this, slot, arrived = arrived_at_](const absl::Status& status) { Complete(slot, arrived, status); });
}

void ScoreLane::TakeBatch(Turn* turn, absl::Time now) {
  batch_.clear();
  scoring_parts_.clear();
  seconds_.clear();
  size_t rows = 0;
  for (; turn->next < turn->waiting.size(); ++turn->next) {
    const Waiting& waiting = turn->waiting[turn->next];
    if (rows > 0 && rows + waiting.checked.verdicts > ScoringQueue::kBatchRows) break;
    rows += waiting.checked.verdicts;
    seconds_.push_back(absl::ToDoubleSeconds(now - waiting.arrived));
    const bool cancelled = waiting.slot->cancelled().load(std::memory_order_relaxed);
    if (const absl::Status wanted = CheckWanted(cancelled, waiting.deadline, now); !wanted.ok()) {
      Complete(waiting.slot, waiting.arrived, wanted);
      continue;
    }
    batch_.push_back(&waiting);
    scoring_parts_.push_back({.rows = waiting.checked.rows,
                              .verdicts = waiting.checked.verdicts,
                              .options = &waiting.checked.options,
                              .segment = waiting.checked.segment});
  }
  parts_.queue->waiting_rows().Remove(rows);
  if (rows > 0) parts_.metrics->batch_rows().Observe(static_cast<double>(rows));
  parts_.metrics->RecordQueueDurations(seconds_);
}

void ScoreLane::ScoreBatch(absl::Time now) {
  Turn turn = std::move(turns_.front());
  turns_.pop_front();
  TakeBatch(&turn, now);
  for (size_t begin = 0; begin < batch_.size();) {
    absl::Status status;
    const size_t end =
        begin + scoring_.ScoreFirst(*turn.served.detector, std::span(scoring_parts_).subspan(begin), &status);
    FinishRun(turn.served, begin, end, status);
    begin = end;
  }
  if (turn.next < turn.waiting.size()) {
    turns_.push_back(std::move(turn));
  } else if (spare_.size() < kSpareTurns) {
    turn.waiting.clear();
    spare_.push_back(std::move(turn.waiting));
  }
}

void ScoreLane::FinishRun(const ServedDetector& served, size_t begin, size_t end, const absl::Status& status) {
  if (!status.ok()) {
    for (size_t i = begin; i < end; ++i) Complete(batch_[i]->slot, batch_[i]->arrived, status);
    return;
  }
  const ScoreResult& result = scoring_.result();
  // Before the replies are out: who has one finds itself counted.
  const absl::Time now = absl::Now();
  if (served.detector->window() == 1) {
    RecordValues(scoring_.rows(), served, now);
  } else {
    for (size_t i = begin; i < end; ++i) RecordValues(batch_[i]->checked.rows, served, now);
  }
  RecordVerdicts(result, 0, result.verdicts.size(), served, now);
  seconds_.clear();
  for (size_t i = begin; i < end; ++i) seconds_.push_back(absl::ToDoubleSeconds(now - batch_[i]->arrived));
  parts_.metrics->RecordDurations(Method::kScore, seconds_);
  parts_.metrics->RecordRequest(Method::kScore, grpc::OK, end - begin);
  FillProvenance(served, reply_.mutable_provenance());
  size_t first = 0;
  std::optional<HeldWrites> held;
  for (size_t i = begin; i < end; ++i) {
    if (end - begin > 1 && (i - begin) % kHeldReplies == 0) held.emplace();
    Slot* slot = batch_[i]->slot;
    reply_.mutable_verdicts()->Clear();
    BeginReply(served, slot->request(), &reply_);
    FillReply(served, slot->request(), 0, result, first, batch_[i]->checked.verdicts, &reply_);
    FinishReply(slot->request(), &reply_);
    first += batch_[i]->checked.verdicts;
    slot->FinishWith(reply_);
  }
}

void ScoreLane::Complete(Slot* slot, absl::Time arrived, const absl::Status& status) {
  const grpc::Status reply = ToGrpcStatus(status);
  parts_.metrics->RecordDuration(Method::kScore, absl::Now() - arrived);
  parts_.metrics->RecordRequest(Method::kScore, reply.error_code());
  slot->Finish(reply);
}

}  // namespace astray
