// Worker threads that score. A worker that becomes free takes everything that waits for one detector, up to
// kBatchRows verdicts, and scores it together; nothing waits on purpose. Detectors take turns; the jobs of one are
// begun in the order of Submit. Jobs larger than kBatchRows are cut into tiles, which several workers score at once.
// Thread-safe.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "engine/detect/detector.h"
#include "server/joint_scoring.h"
#include "server/metrics.h"
#include "server/waiting_rows.h"

namespace astray {

struct ScoringJob {
  std::shared_ptr<const Detector> detector;
  std::span<const float> rows;  // checked; they must stay where they are until `done`
  ScoreOptions options;
  uint32_t segment = 0;  // Calibration::SegmentIndex of the detector's
  absl::Time deadline = absl::InfiniteFuture();
  std::shared_ptr<const std::atomic<bool>> cancelled;  // may be null

  // Verdicts [first, first + count) of `result` are the job's verdicts [job_first, job_first + count). Called on
  // workers; of tiles, at the same time from several.
  std::function<void(size_t job_first, const ScoreResult& result, size_t first, size_t count)> consume;
  // Called once, last, on a worker. DeadlineExceeded or Cancelled: (part of) the job was not scored, or no longer
  // repaired or filled in.
  std::function<void(absl::Status)> done;
};

class ScoringQueue {
 public:
  static constexpr size_t kBatchRows = 256;

  enum class Admission {
    kCapped,  // ResourceExhausted where `queue_rows` would be exceeded
    kAlways,  // for callers that bound what they have waiting themselves
  };

  // `metrics` must outlive the queue.
  ScoringQueue(size_t workers, size_t queue_rows, Metrics* metrics);
  ~ScoringQueue();  // as Shutdown

  // Unless OK is returned, neither `consume` nor `done` is called.
  absl::Status Submit(ScoringJob job, Admission admission) ABSL_LOCKS_EXCLUDED(mutex_);
  // The same for all of them or none.
  absl::Status Submit(std::vector<ScoringJob> jobs, Admission admission) ABSL_LOCKS_EXCLUDED(mutex_);

  // Finishes what was submitted, then ends the workers. Submit returns Unavailable from now on.
  void Shutdown() ABSL_LOCKS_EXCLUDED(mutex_);

  size_t queue_rows() const { return waiting_rows_.most(); }
  WaitingRows& waiting_rows() { return waiting_rows_; }  // with those that wait here; lanes count theirs there too

 private:
  struct PendingJob;
  struct Tile;
  struct Batch;
  struct Buffers;

  static size_t Verdicts(const ScoringJob& job);
  void Enqueue(ScoringJob job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Work();
  bool TakeBatch(Batch* batch) ABSL_LOCKS_EXCLUDED(mutex_);
  bool HasWorkOrStops() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_ || !turns_.empty(); }
  void ScoreBatch(const Batch& batch, Buffers* buffers);

  Metrics* const metrics_;
  WaitingRows waiting_rows_;
  absl::Mutex mutex_;
  // Tiles by detector; a detector with tiles has one entry in turns_.
  absl::flat_hash_map<const Detector*, std::deque<Tile>> tiles_ ABSL_GUARDED_BY(mutex_);
  std::deque<const Detector*> turns_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> workers_;
};

}  // namespace astray
