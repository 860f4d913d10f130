// Scores one stream of time-ordered rows, whatever the transport; the window runs across requests, for each entity by
// itself.
//
// A stream keeps the artifact that it began with, and follows that artifact's calibrations: a promotion holds from the
// next rows on. Not thread-safe; one Score at a time.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "astray/v1/service.pb.h"
#include "engine/detect/row_history.h"
#include "server/detector_registry.h"
#include "server/entity_windows.h"
#include "server/scoring.h"
#include "server/scoring_queue.h"

namespace astray {

class StreamScorer {
 public:
  using Done = std::function<void(absl::Status)>;

  // All must outlive the scorer.
  StreamScorer(const DetectorRegistry* registry, ScoringQueue* queue, Metrics* metrics)
      : registry_(registry), queue_(queue), metrics_(metrics) {}

  // Chooses the detector. Once, before everything else. Errors are those of Score.
  absl::Status Begin(const v1::ModelRef& model, const v1::ScoreOptions& options);

  absl::Status Check(std::span<const float> values) const { return CheckValues(*served_.detector, values); }
  static absl::Status CheckEntity(const std::string& entity);  // InvalidArgument where its name is too long

  // Scores at most EntityWindows::kMinEntities checked requests together; requests() and replies() are theirs when
  // `done` is called, once, with OK or Cancelled. Unavailable where the queue is shut down: `done` is not called.
  absl::Status Score(std::vector<v1::ScoreStreamRequest> requests,
                     const std::shared_ptr<const std::atomic<bool>>& cancelled, Done done);
  std::vector<v1::ScoreResponse>& replies() { return replies_; }

  // The same for bare rows, of which only errors are wanted: `consume` is ScoringJob's.
  absl::Status ScoreErrors(std::span<const float> rows, std::shared_ptr<const std::atomic<bool>> cancelled,
                           decltype(ScoringJob::consume) consume, Done done);

  const Detector& detector() const { return *served_.detector; }

 private:
  // The rows of one entity in the requests being scored.
  struct EntityRows {
    RowHistory* history;
    std::vector<float> rows;             // of several requests; one alone is scored where it lies
    std::vector<v1::Verdict*> verdicts;  // of replies_, one a row
    size_t requests = 0, first_request = 0;
  };

  void FollowCalibration();
  void GroupByEntity();
  ScoringJob MakeJob(EntityRows* entity);

  const DetectorRegistry* registry_;
  ScoringQueue* queue_;
  Metrics* metrics_;
  ServedDetector served_;
  ScoreOptions options_;
  std::optional<EntityWindows> windows_;
  std::vector<v1::ScoreStreamRequest> requests_;
  std::vector<v1::ScoreResponse> replies_;
  std::vector<EntityRows> entities_;
};

}  // namespace astray
