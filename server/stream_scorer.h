// Scores one stream of rows, whatever the transport: EntityStreams through the queue.
//
// A stream keeps the artifact that it began with, and follows that artifact's calibrations: a promotion holds from the
// next rows on. Not thread-safe; one Score at a time.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "astray/v1/service.pb.h"
#include "engine/detect/entity_streams.h"
#include "server/detector_registry.h"
#include "server/joint_scoring.h"
#include "server/scoring.h"
#include "server/scoring_queue.h"

namespace astray {

class StreamScorer {
 public:
  static constexpr Method kMethod = Method::kScoreStream;
  using Request = v1::ScoreStreamRequest;
  using Response = v1::ScoreResponse;
  using Exchange = EntityStreams::Exchange;
  using Done = std::function<void(absl::Status)>;

  // All must outlive the scorer.
  StreamScorer(const DetectorRegistry* registry, ScoringQueue* queue, Metrics* metrics)
      : registry_(registry), queue_(queue), metrics_(metrics) {}
  ~StreamScorer();
  StreamScorer(const StreamScorer&) = delete;
  StreamScorer& operator=(const StreamScorer&) = delete;

  // Chooses the detector. Once, before everything else. Errors are those of Score.
  absl::Status Begin(const v1::ModelRef& model, const v1::ScoreOptions& options);

  absl::Status CheckRequest(const v1::ScoreStreamRequest& request) const;
  static size_t SizeOf(const Request& request) { return static_cast<size_t>(request.values_size()); }

  // Takes at most EntityStreams::kMinEntities checked requests and scores what goes on, together: here, with `scoring`,
  // or on the workers where it is more than a batch or ScoreOptions::iterates. When `done` is called, once, with OK or
  // Cancelled, before this returns or on another thread, TakeReplies() has those of the requests that are complete.
  // Other errors, among them Unavailable where the queue is shut down: `done` is not called.
  absl::Status Score(std::span<std::unique_ptr<Exchange>> requests, StreamRelease release,
                     const std::shared_ptr<const std::atomic<bool>>& cancelled, JointScoring* scoring,
                     const Done& done);
  std::vector<std::unique_ptr<Exchange>> TakeReplies() { return std::exchange(replies_, {}); }
  // What scored all of TakeReplies(), until the next Score: their responses are without provenance.
  const ServedDetector& served() const { return served_; }
  // Whether rows wait for late ones, and when a Score without requests sends some on.
  bool waits() const { return streams_ && streams_->next_release() != absl::InfiniteFuture(); }
  absl::Time next_release() const { return streams_ ? streams_->next_release() : absl::InfiniteFuture(); }

 private:
  absl::Status ScoreHere(const std::vector<EntityStreams::Piece>& pieces, JointScoring* scoring);
  ScoringJob MakeJob(const EntityStreams::Piece& piece);
  // `result` has the verdicts of these pieces, one's behind the other's.
  void TakeRun(std::span<const EntityStreams::Piece> run, const ScoreResult& result) const;
  // Verdicts [first, first + count) of `result` are those of the piece from piece_first on.
  void Take(const EntityStreams::Piece& piece, size_t piece_first, const ScoreResult& result, size_t first,
            size_t count) const;
  void Finish();

  const DetectorRegistry* registry_;
  ScoringQueue* queue_;
  Metrics* metrics_;
  ServedDetector served_;
  ScoreOptions options_;
  std::optional<EntityStreams> streams_;
  EntityStreams::Counts counted_;  // in metrics, and how many entities
  size_t counted_entities_ = 0;
  std::vector<std::unique_ptr<Exchange>> replies_;
  std::vector<ScoringPart> parts_;  // scratch
};

}  // namespace astray
