// What Prometheus sees of astrayd. Thread-safe. Handles are made once for each (model, version) or method, never for
// each request; labels come from what is loaded and from closed sets, so that a client cannot make series.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "engine/detect/calibration.h"
#include "engine/detect/detector.h"
#include "engine/detect/entity_streams.h"
#include "grpcpp/support/status.h"
#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"
#include "server/drift_metrics.h"
#include "server/status.h"

namespace astray {

enum class Method {
  kScore,
  kScoreStream,
  kScoreLogs,
  kScoreLogStream,
  kCalibrate,
  kListModels,
  kDescribeModel,
  kLoadModel,
  kUnloadModel,
  kPromoteCalibration,
  kRollbackCalibration,
  kSetLabel,
  kPromoteVersion,
  kSetShadow,
  kFeedback,
};
inline constexpr size_t kMethods = 15;

// One served version's series; they go when the last holder goes.
class ModelMetrics {
 public:
  // Verdicts [first, first + count) of `result`.
  void RecordVerdicts(const ScoreResult& result, size_t first, size_t count);
  void RecordValues(size_t values, size_t missing);
  void CountLogLines(uint64_t lines, uint64_t unseen) {
    log_lines->Increment(static_cast<double>(lines));
    log_unseen_lines->Increment(static_cast<double>(unseen));
  }
  void CountAlarm() { alarms->Increment(); }
  void CountFalseAlarm() { false_alarms->Increment(); }
  void CountConfirmedAnomaly() { confirmed_anomalies->Increment(); }
  void SetCalibration(const Calibration& calibration);

 private:
  friend class Metrics;
  prometheus::Counter* scored_rows = nullptr;
  prometheus::Counter* anomalies = nullptr;
  prometheus::Counter* alarms = nullptr;
  prometheus::Counter* false_alarms = nullptr;
  prometheus::Counter* confirmed_anomalies = nullptr;
  prometheus::Counter* log_lines = nullptr;
  prometheus::Counter* log_unseen_lines = nullptr;
  prometheus::Counter* values = nullptr;
  prometheus::Counter* missing_values = nullptr;
  prometheus::Histogram* score = nullptr;
  prometheus::Histogram* p_value = nullptr;
  prometheus::Gauge* threshold = nullptr;
  prometheus::Gauge* calibration_samples = nullptr;
  prometheus::Gauge* calibration_timestamp = nullptr;
  prometheus::Gauge* calibration_epoch = nullptr;
};

// The series of a model's shadow, by the candidate's version; they go when the last holder goes.
class ShadowMetrics {
 public:
  void CountRows(uint64_t compared, uint64_t only_candidate_anomalous, uint64_t only_live_anomalous) {
    rows->Increment(static_cast<double>(compared));
    only_candidate->Increment(static_cast<double>(only_candidate_anomalous));
    only_live->Increment(static_cast<double>(only_live_anomalous));
  }
  void CountDropped(size_t dropped) { dropped_rows->Increment(static_cast<double>(dropped)); }
  void RecordDifference(double score_difference) { difference->Observe(score_difference); }
  void SetSecondsPerRow(double candidate, double live) {
    candidate_seconds->Set(candidate);
    live_seconds->Set(live);
  }

 private:
  friend class Metrics;
  prometheus::Counter* rows = nullptr;
  prometheus::Counter* only_candidate = nullptr;
  prometheus::Counter* only_live = nullptr;
  prometheus::Counter* dropped_rows = nullptr;
  prometheus::Histogram* difference = nullptr;
  prometheus::Gauge* candidate_seconds = nullptr;
  prometheus::Gauge* live_seconds = nullptr;
};

class Metrics {
 public:
  Metrics();

  prometheus::Registry& registry() { return *registry_; }
  std::string Serialize() const;  // the text exposition format

  // The series of a version; the same ones for as long as anybody holds them. Must not outlive this object.
  std::shared_ptr<ModelMetrics> ForModel(const std::string& model, int64_t version);
  std::shared_ptr<ShadowMetrics> ForShadow(const std::string& model, int64_t version);  // the same of a shadow

  DriftMetrics& drift() { return drift_; }

  void RecordRequest(Method method, grpc::StatusCode code, size_t calls = 1);
  void RecordDuration(Method method, absl::Duration duration);
  void RecordDurations(Method method, std::span<const double> seconds);
  void RecordQueueDurations(std::span<const double> seconds);
  void CountLoadFailure(const std::string& model);
  void DropLoadFailures(const std::string& model);  // of a model whose folder is gone

  void SetReady(bool ready) { ready_->Set(ready ? 1 : 0); }
  void SetModelsLoaded(size_t versions) { models_loaded_->Set(static_cast<double>(versions)); }
  prometheus::Gauge& streams_active() { return *streams_active_; }
  prometheus::Gauge& stream_entities() { return *stream_entities_; }
  prometheus::Gauge& log_sessions() { return *log_sessions_; }
  // What a stream has seen since `before`.
  void CountStreamRows(const EntityStreams::Counts& now, const EntityStreams::Counts& before);
  void RecordStreamLag(double seconds) { stream_lag_->Observe(seconds); }
  void SetQueueRows(size_t rows) { queue_rows_->Set(static_cast<double>(rows)); }
  prometheus::Histogram& queue_duration() { return *queue_duration_; }
  prometheus::Histogram& batch_rows() { return *batch_rows_; }

 private:
  template <typename T>
  using Family = prometheus::Family<T>;
  using Key = std::pair<std::string, int64_t>;

  void Release(const Key& key, const ModelMetrics& metrics) ABSL_LOCKS_EXCLUDED(mutex_);
  void Release(const Key& key, const ShadowMetrics& metrics) ABSL_LOCKS_EXCLUDED(mutex_);

  std::shared_ptr<prometheus::Registry> registry_;
  Family<prometheus::Counter>& requests_;
  Family<prometheus::Histogram>& request_duration_;
  Family<prometheus::Counter>& load_failures_;
  Family<prometheus::Counter>& scored_rows_;
  Family<prometheus::Counter>& anomalies_;
  Family<prometheus::Counter>& alarms_;
  Family<prometheus::Counter>& log_lines_;
  Family<prometheus::Counter>& log_unseen_lines_;
  Family<prometheus::Counter>& values_;
  Family<prometheus::Counter>& missing_values_;
  Family<prometheus::Histogram>& score_;
  Family<prometheus::Histogram>& p_value_;
  Family<prometheus::Gauge>& threshold_;
  Family<prometheus::Gauge>& calibration_samples_;
  Family<prometheus::Gauge>& calibration_timestamp_;
  Family<prometheus::Gauge>& calibration_epoch_;
  Family<prometheus::Counter>& feedback_;
  Family<prometheus::Counter>& shadow_rows_;
  Family<prometheus::Counter>& shadow_disagreements_;
  Family<prometheus::Counter>& shadow_dropped_rows_;
  Family<prometheus::Histogram>& shadow_score_difference_;
  Family<prometheus::Gauge>& shadow_row_seconds_;
  DriftMetrics drift_;
  prometheus::Gauge* ready_;
  prometheus::Gauge* models_loaded_;
  prometheus::Gauge* streams_active_;
  prometheus::Gauge* stream_entities_;
  prometheus::Counter* stream_entities_dropped_;
  prometheus::Counter* stream_late_rows_;
  prometheus::Counter* stream_duplicate_rows_;
  prometheus::Counter* stream_gaps_;
  prometheus::Histogram* stream_lag_;
  prometheus::Gauge* log_sessions_;
  prometheus::Gauge* queue_rows_;
  prometheus::Histogram* queue_duration_;
  prometheus::Histogram* batch_rows_;
  std::array<prometheus::Histogram*, kMethods> durations_;
  std::array<std::array<std::atomic<prometheus::Counter*>, kStatusCodes>, kMethods> request_counters_{};

  absl::Mutex mutex_;
  std::map<Key, size_t> holders_ ABSL_GUARDED_BY(mutex_);
  std::map<Key, size_t> shadow_holders_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, prometheus::Counter*> failures_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace astray
