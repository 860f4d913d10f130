// A candidate beside a live detector: scores the rows that the live one has scored, on a background lane, and counts
// how the verdicts differ. Thread-safe; what is counted is of this object alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "astray/v1/service.pb.h"
#include "engine/detect/detector.h"
#include "server/background_lane.h"
#include "server/metrics.h"

namespace astray {

class Shadow : public std::enable_shared_from_this<Shadow> {
 public:
  // FailedPrecondition where `candidate` cannot score what `live` is given: it has other features, a longer window (the
  // rows before are not there), other log templates or letters; or it is the live one.
  static absl::Status Check(const Detector& live, const Detector& candidate);

  // A checked pair. The lane must outlive the shadow.
  Shadow(std::shared_ptr<const Detector> live, std::shared_ptr<const Detector> candidate, BackgroundLane* lane,
         std::shared_ptr<ShadowMetrics> metrics)
      : live_(std::move(live)), candidate_(std::move(candidate)), lane_(lane), metrics_(std::move(metrics)) {}

  // The live detector gave `rows` [(count + its window - 1) x features] verdicts [first, first + count) of `result`.
  // `segment` is what they were judged as, empty for none. Copies all, or counts the rows as dropped where too much
  // waits; never waits, never fails.
  void Offer(std::span<const float> rows, absl::string_view segment, const ScoreResult& result, size_t first,
             size_t count) ABSL_LOCKS_EXCLUDED(mutex_);

  v1::ShadowSummary Summary() const ABSL_LOCKS_EXCLUDED(mutex_);
  const std::shared_ptr<const Detector>& live() const { return live_; }
  const std::shared_ptr<const Detector>& candidate() const { return candidate_; }

 private:
  struct LiveVerdict {
    bool scored, anomalous;
    float score;
  };
  static constexpr uint64_t kTimedEvery = 16;  // offers of which one is timed: the live detector scores it again for it

  void CountDropped(size_t rows) ABSL_LOCKS_EXCLUDED(mutex_);
  void Compare(const std::vector<float>& rows, const std::string& segment, const std::vector<LiveVerdict>& verdicts)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void Time(const std::vector<float>& rows, const std::string& segment, double candidate_seconds)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // The lane's: scores rows of one segment into result_.
  absl::Status Score(const Detector& detector, std::span<const float> rows, const std::string& segment);

  const std::shared_ptr<const Detector> live_, candidate_;
  BackgroundLane* const lane_;
  const std::shared_ptr<ShadowMetrics> metrics_;
  ScoreResult result_;              // the lane's
  std::vector<uint32_t> segments_;  // the lane's
  uint64_t compared_ = 0;           // the lane's: offers

  mutable absl::Mutex mutex_;
  uint64_t rows_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t only_candidate_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t only_live_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t dropped_ ABSL_GUARDED_BY(mutex_) = 0;
  double difference_ ABSL_GUARDED_BY(mutex_) = 0;  // summed
  double largest_difference_ ABSL_GUARDED_BY(mutex_) = 0;
  double candidate_seconds_ ABSL_GUARDED_BY(mutex_) = 0, live_seconds_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t timed_rows_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace astray
