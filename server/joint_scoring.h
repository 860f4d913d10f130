// Scores rows of several calls together, as if each were alone: verdicts have the same bits (decision 0003). Holds the
// buffers of that; one object a thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/detect/detector.h"

namespace astray {

// DeadlineExceeded or Cancelled where nobody waits for the verdicts any more: as gRPC, which cancels a call at its
// deadline, the first where both hold.
absl::Status CheckWanted(bool cancelled, absl::Time deadline, absl::Time now);

// Some verdicts of a call.
struct ScoringPart {
  std::span<const float> rows;  // (verdicts + window - 1) x features, checked
  size_t verdicts = 0;          // at least 1
  const ScoreOptions* options = nullptr;
  uint32_t segment = 0;  // Calibration::SegmentIndex
  absl::Time deadline = absl::InfiniteFuture();
  const std::atomic<bool>* cancelled = nullptr;  // may be null

  absl::Status CheckWanted(absl::Time now) const;
};

class JointScoring {
 public:
  // Scores as many of the first `parts` of one detector as one call of it can take, at least one, and gives their
  // number: those with the options of the first. result() has their verdicts, one part's behind the other's.
  // DeadlineExceeded or Cancelled where none of these is wanted any more while they are repaired or filled in
  // (ScoreOptions::iterates); other errors are Detector::Score's.
  size_t ScoreFirst(const Detector& detector, std::span<const ScoringPart> parts, absl::Status* status);

  const ScoreResult& result() const { return result_; }
  // What was scored: of a detector without a window, each row once.
  std::span<const float> rows() const { return rows_; }

 private:
  static constexpr size_t kFewVerdicts = 8;  // of a part whose windows are copied to be scored with others

  // The windows of all verdicts of `run`, one behind the other.
  std::span<const float> Gather(const Detector& detector, std::span<const ScoringPart> run);

  std::vector<float> windows_;
  std::span<const float> rows_;
  std::vector<uint32_t> segments_;
  ScoreResult result_;
};

}  // namespace astray
