// DetectionService.Score on one lane. Calls that are ready are taken together, as far as WaitingRows allows, and what
// waits for one detector is scored in batches of at most ScoringQueue::kBatchRows verdicts on the lane's own thread;
// detectors take turns. Requests with more verdicts go to the workers, in tiles; so do those whose verdicts are
// repaired or filled in, which takes long, and the lane hears meanwhile whether they are cancelled. Nothing waits on
// purpose: where calls come alone, one is scored before the lane looks for others. But before a large network runs, it
// looks for more, a few times at most.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "absl/time/time.h"
#include "astray/v1/service.pb.h"
#include "server/detection_service.h"
#include "server/joint_scoring.h"
#include "server/lane.h"
#include "server/scoring.h"
#include "server/unary_slots.h"

namespace astray {

class ScoreLane final : public UnarySlots<v1::ScoreRequest, v1::ScoreResponse>, private LaneTag {
 public:
  // All must outlive it; it must outlive the lane's thread.
  ScoreLane(DetectionService* service, Lane* lane) : UnarySlots(lane), service_(service), parts_(service->parts()) {}

  JointScoring* scoring() { return &scoring_; }  // for others on this lane's thread

 private:
  struct Waiting {
    Slot* slot;
    CheckedRequest checked;
    absl::Time deadline;
    absl::Time arrived;
  };
  // What waits for one detector: from `next` on.
  struct Turn {
    ServedDetector served;
    std::vector<Waiting> waiting;
    size_t next = 0;
  };

  void Post(grpc::ServerContext* context, grpc::ByteBuffer* request, Writer* writer, LaneTag* tag) override;
  void Handle(Slot* slot) override;
  void Settled(Slot* slot) override;
  bool IsSmall(size_t request_bytes, const v1::ScoreResponse& response) const override;

  void Proceed(bool ok) override;  // once what is ready has been taken
  void GoOn(absl::Time now);       // admits what has arrived, scores one batch
  void AdmitArrived();
  absl::Status Admit(const RegistrySnapshot& current, Slot* slot);
  absl::StatusOr<Turn*> FindTurn(const RegistrySnapshot& current, const v1::ModelRef& model);
  absl::Status Submit(const ServedDetector& served, const CheckedRequest& checked, Slot* slot);  // to the workers
  void ScoreBatch(absl::Time now);
  // Puts as many calls of the turn as make a batch in batch_, but for those that nobody waits for.
  void TakeBatch(Turn* turn, absl::Time now);
  void FinishRun(const ServedDetector& served, size_t begin, size_t end, const absl::Status& status);
  void Complete(Slot* slot, absl::Time arrived, const absl::Status& status);

  DetectionService* const service_;
  const DetectionService::Parts& parts_;
  std::vector<Slot*> arrived_;
  absl::Time arrived_at_;   // the first of them
  size_t calls_taken_ = 0;  // since the last Proceed
  bool alone_ = true;       // no more than one was taken before that
  std::deque<Turn> turns_;
  int looks_ = 0;                            // for more calls, since the last batch
  std::vector<std::vector<Waiting>> spare_;  // for turns to come
  // While calls are admitted: the last one's model, and its turn.
  const v1::ModelRef* last_model_ = nullptr;
  Turn* last_turn_ = nullptr;

  // Of the batch.
  std::vector<const Waiting*> batch_;
  std::vector<ScoringPart> scoring_parts_;  // beside batch_
  std::vector<double> seconds_;
  v1::ScoreResponse reply_;  // the same message for all, so that it stays in the cache
  JointScoring scoring_;
};

}  // namespace astray
