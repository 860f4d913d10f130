#include "server/metrics.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include "absl/strings/str_cat.h"
#include "prometheus/text_serializer.h"
#include "server/process_metrics.h"

namespace astray {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;
using prometheus::Labels;
using Boundaries = prometheus::Histogram::BucketBoundaries;

constexpr std::array<const char*, kMethods> kMethodNames = {
    "Score",          "ScoreStream", "ScoreLogs",   "ScoreLogStream",     "Calibrate",           "ListModels",
    "DescribeModel",  "LoadModel",   "UnloadModel", "PromoteCalibration", "RollbackCalibration", "SetLabel",
    "PromoteVersion", "SetShadow",   "Feedback"};

const Boundaries& ScoreBoundaries() {
  static const auto& boundaries = *new Boundaries{0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 1, 1.2, 1.5, 2, 3, 5, 10, 100};
  return boundaries;
}

const Boundaries& PValueBoundaries() {
  static const auto& boundaries = *new Boundaries{0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9};
  return boundaries;
}

const Boundaries& DifferenceBoundaries() {
  static const auto& boundaries = *new Boundaries{0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 100};
  return boundaries;
}

const Boundaries& SecondsBoundaries() {
  static const auto& boundaries =
      *new Boundaries{5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
  return boundaries;
}

const Boundaries& LagBoundaries() {
  static const auto& boundaries =
      *new Boundaries{0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1, 2.5, 5, 10, 30, 60, 300, 3600};
  return boundaries;
}

const Boundaries& RowsBoundaries() {
  static const auto& boundaries = *new Boundaries{1, 2, 4, 8, 16, 32, 64, 128, 256};
  return boundaries;
}

// What one call tells a histogram. Few values are told one by one; many are gathered, so that the histogram's lock is
// taken once, though each of its buckets is then written to.
class Observations {
 public:
  // Of at most `values`.
  Observations(prometheus::Histogram* histogram, const Boundaries& boundaries, size_t values)
      : histogram_(histogram), boundaries_(boundaries) {
    if (values > kFew) counts_.resize(boundaries.size() + 1);
  }
  ~Observations() {
    if (!counts_.empty()) histogram_->ObserveMultiple(counts_, sum_);
  }
  Observations(const Observations&) = delete;
  Observations& operator=(const Observations&) = delete;

  void Add(double value) {
    if (counts_.empty()) return histogram_->Observe(value);
    const auto bucket = std::lower_bound(boundaries_.begin(), boundaries_.end(), value);
    ++counts_[static_cast<size_t>(std::distance(boundaries_.begin(), bucket))];
    sum_ += value;
  }

 private:
  static constexpr size_t kFew = 4;

  prometheus::Histogram* const histogram_;
  const Boundaries& boundaries_;
  std::vector<double> counts_;  // of each bucket; empty where there are few values
  double sum_ = 0;
};

void ObserveSeconds(prometheus::Histogram* histogram, std::span<const double> seconds) {
  Observations observations(histogram, SecondsBoundaries(), seconds.size());
  for (const double value : seconds) observations.Add(value);
}

// An atomic operation less where there is nothing to add.
void Count(prometheus::Counter* counter, size_t events) {
  if (events > 0) counter->Increment(static_cast<double>(events));
}

Labels With(Labels labels, const char* name, const char* value) {
  labels.emplace(name, value);
  return labels;
}

template <typename Builder>
auto& Make(prometheus::Registry& registry, Builder builder, const char* name, const char* help) {
  return builder.Name(name).Help(help).Register(registry);
}

}  // namespace

void ModelMetrics::RecordVerdicts(const ScoreResult& result, size_t first, size_t count) {
  Observations scores(score, ScoreBoundaries(), count), p_values(p_value, PValueBoundaries(), count);
  size_t scored = 0, anomalous = 0;
  for (size_t i = first; i < first + count; ++i) {
    const Verdict& verdict = result.verdicts[i];
    if (verdict.state != Verdict::State::kScored) continue;
    ++scored;
    anomalous += verdict.anomalous ? 1 : 0;
    scores.Add(verdict.score);
    p_values.Add(verdict.p_value);
  }
  Count(scored_rows, scored);
  Count(anomalies, anomalous);
}

void ModelMetrics::RecordValues(size_t value_count, size_t missing) {
  Count(values, value_count);
  Count(missing_values, missing);
}

void ModelMetrics::SetCalibration(const Calibration& calibration) {
  threshold->Set(calibration.threshold());
  calibration_samples->Set(static_cast<double>(calibration.samples()));
  calibration_timestamp->Set(static_cast<double>(calibration.origin().created_unix_seconds));
  calibration_epoch->Set(static_cast<double>(calibration.epoch()));
}

Metrics::Metrics()
    : registry_(std::make_shared<prometheus::Registry>()),
      requests_(Make(*registry_, BuildCounter(), "astray_requests_total", "Calls finished, by method and status.")),
      request_duration_(Make(*registry_, BuildHistogram(), "astray_request_duration_seconds",
                             "From a call's arrival to its reply; of ScoreStream, from a message to its reply.")),
      load_failures_(Make(*registry_, BuildCounter(), "astray_model_load_failures_total",
                          "Artifacts, calibrations and serving states that could not be loaded.")),
      scored_rows_(Make(*registry_, BuildCounter(), "astray_scored_rows_total", "Rows given a score.")),
      anomalies_(Make(*registry_, BuildCounter(), "astray_anomalies_total", "Rows with a score above 1.")),
      alarms_(Make(*registry_, BuildCounter(), "astray_alarms_total", "Alarms that streams' rows raised.")),
      log_lines_(Make(*registry_, BuildCounter(), "astray_log_lines_total", "Log lines of sessions given a verdict.")),
      log_unseen_lines_(Make(*registry_, BuildCounter(), "astray_log_unseen_lines_total",
                             "Of these, lines of no template that training saw.")),
      values_(Make(*registry_, BuildCounter(), "astray_values_total", "Values received, missing ones included.")),
      missing_values_(Make(*registry_, BuildCounter(), "astray_missing_values_total", "Values received as NaN.")),
      score_(Make(*registry_, BuildHistogram(), "astray_score", "Error over threshold; above 1 is anomalous.")),
      p_value_(Make(*registry_, BuildHistogram(), "astray_p_value",
                    "Share of calibration errors at least as large; uniform while the data is normal.")),
      threshold_(Make(*registry_, BuildGauge(), "astray_threshold", "Error above which a row is anomalous.")),
      calibration_samples_(
          Make(*registry_, BuildGauge(), "astray_calibration_samples", "Normal vectors behind the live threshold.")),
      calibration_timestamp_(Make(*registry_, BuildGauge(), "astray_calibration_timestamp_seconds",
                                  "When the live calibration was made; 0 if with the artifact.")),
      calibration_epoch_(Make(*registry_, BuildGauge(), "astray_calibration_epoch", "Epoch of the live calibration.")),
      feedback_(Make(*registry_, BuildCounter(), "astray_feedback_total",
                     "Verdicts that users called right or wrong, by kind.")),
      shadow_rows_(Make(*registry_, BuildCounter(), "astray_shadow_rows_total",
                        "Rows that a candidate scored beside the live version.")),
      shadow_disagreements_(Make(*registry_, BuildCounter(), "astray_shadow_disagreements_total",
                                 "Of these, rows that only one of the two calls anomalous.")),
      shadow_dropped_rows_(Make(*registry_, BuildCounter(), "astray_shadow_dropped_rows_total",
                                "Rows not compared, since the candidate could not keep up.")),
      shadow_score_difference_(Make(*registry_, BuildHistogram(), "astray_shadow_score_difference",
                                    "Candidate's score less the live one's, without its sign.")),
      shadow_row_seconds_(Make(*registry_, BuildGauge(), "astray_shadow_row_duration_seconds",
                               "Mean processor time to score a row, of the candidate and of the live version.")),
      drift_(registry_.get()) {
  prometheus::Registry& registry = *registry_;
  ready_ = &Make(registry, BuildGauge(), "astray_ready", "1 while the server takes requests.").Add({});
  models_loaded_ = &Make(registry, BuildGauge(), "astray_models_loaded", "Model versions being served.").Add({});
  streams_active_ = &Make(registry, BuildGauge(), "astray_streams_active", "ScoreStream calls that are open.").Add({});
  stream_entities_ =
      &Make(registry, BuildGauge(), "astray_stream_entities", "Entities whose windows open streams hold.").Add({});
  stream_entities_dropped_ = &Make(registry, BuildCounter(), "astray_stream_entities_dropped_total",
                                   "Windows dropped, their entities silent longest, for want of memory.")
                                  .Add({});
  stream_late_rows_ = &Make(registry, BuildCounter(), "astray_stream_late_rows_total",
                            "Rows without a verdict: later ones of their entity had theirs.")
                           .Add({});
  stream_duplicate_rows_ = &Make(registry, BuildCounter(), "astray_stream_duplicate_rows_total",
                                 "Rows without a verdict: their entity had one of that time.")
                                .Add({});
  stream_gaps_ = &Make(registry, BuildCounter(), "astray_stream_gaps_total",
                       "Windows begun anew after a pause, or where a clock was set back.")
                      .Add({});
  stream_lag_ = &Make(registry, BuildHistogram(), "astray_stream_lag_seconds", "From a row's own time to its verdict.")
                     .Add({}, LagBoundaries());
  log_sessions_ =
      &Make(registry, BuildGauge(), "astray_log_sessions", "Sessions of log lines that open streams hold.").Add({});
  queue_rows_ = &Make(registry, BuildGauge(), "astray_queue_rows", "Rows that wait for a worker.").Add({});
  queue_duration_ = &Make(registry, BuildHistogram(), "astray_queue_duration_seconds", "Wait for a worker.")
                         .Add({}, SecondsBoundaries());
  batch_rows_ = &Make(registry, BuildHistogram(), "astray_batch_rows", "Rows scored by a worker at a time.")
                     .Add({}, RowsBoundaries());
  Make(registry, BuildGauge(), "astray_build_info", "1; the labels say what is running.")
      .Add({{"version", ASTRAY_VERSION}, {"compiler", __VERSION__}})
      .Set(1);
  for (size_t i = 0; i < kMethods; ++i) {
    durations_[i] = &request_duration_.Add({{"method", kMethodNames[i]}}, SecondsBoundaries());
    request_counters_[i][0] = &requests_.Add({{"method", kMethodNames[i]}, {"code", StatusCodeName(grpc::OK)}});
  }
}

std::string Metrics::Serialize() const {
  std::vector<prometheus::MetricFamily> families = registry_->Collect();
  // A family that has no series yet would be a header without samples.
  std::erase_if(families, [](const prometheus::MetricFamily& family) { return family.metric.empty(); });
  for (prometheus::MetricFamily& family : CollectProcessMetrics()) families.push_back(std::move(family));
  return prometheus::TextSerializer().Serialize(families);
}

std::shared_ptr<ModelMetrics> Metrics::ForModel(const std::string& model, int64_t version) {
  Key key{model, version};
  const Labels labels{{"model", model}, {"version", absl::StrCat(version)}};
  absl::MutexLock lock(&mutex_);
  ++holders_[key];
  auto metrics = std::make_unique<ModelMetrics>();
  metrics->scored_rows = &scored_rows_.Add(labels);
  metrics->anomalies = &anomalies_.Add(labels);
  metrics->alarms = &alarms_.Add(labels);
  metrics->false_alarms = &feedback_.Add(With(labels, "kind", "false_alarm"));
  metrics->confirmed_anomalies = &feedback_.Add(With(labels, "kind", "confirmed_anomaly"));
  metrics->log_lines = &log_lines_.Add(labels);
  metrics->log_unseen_lines = &log_unseen_lines_.Add(labels);
  metrics->values = &values_.Add(labels);
  metrics->missing_values = &missing_values_.Add(labels);
  metrics->score = &score_.Add(labels, ScoreBoundaries());
  metrics->p_value = &p_value_.Add(labels, PValueBoundaries());
  metrics->threshold = &threshold_.Add(labels);
  metrics->calibration_samples = &calibration_samples_.Add(labels);
  metrics->calibration_timestamp = &calibration_timestamp_.Add(labels);
  metrics->calibration_epoch = &calibration_epoch_.Add(labels);
  return {metrics.release(), [this, key = std::move(key)](ModelMetrics* released) {
            Release(key, *released);
            delete released;
          }};
}

void Metrics::Release(const Key& key, const ModelMetrics& metrics) {
  absl::MutexLock lock(&mutex_);
  if (--holders_[key] > 0) return;
  holders_.erase(key);
  scored_rows_.Remove(metrics.scored_rows);
  anomalies_.Remove(metrics.anomalies);
  alarms_.Remove(metrics.alarms);
  feedback_.Remove(metrics.false_alarms);
  feedback_.Remove(metrics.confirmed_anomalies);
  log_lines_.Remove(metrics.log_lines);
  log_unseen_lines_.Remove(metrics.log_unseen_lines);
  values_.Remove(metrics.values);
  missing_values_.Remove(metrics.missing_values);
  score_.Remove(metrics.score);
  p_value_.Remove(metrics.p_value);
  threshold_.Remove(metrics.threshold);
  calibration_samples_.Remove(metrics.calibration_samples);
  calibration_timestamp_.Remove(metrics.calibration_timestamp);
  calibration_epoch_.Remove(metrics.calibration_epoch);
  drift_.Drop(key.first, key.second);
}

std::shared_ptr<ShadowMetrics> Metrics::ForShadow(const std::string& model, int64_t version) {
  Key key{model, version};
  const Labels labels{{"model", model}, {"version", absl::StrCat(version)}};
  absl::MutexLock lock(&mutex_);
  ++shadow_holders_[key];
  auto metrics = std::make_unique<ShadowMetrics>();
  metrics->rows = &shadow_rows_.Add(labels);
  metrics->only_candidate = &shadow_disagreements_.Add(With(labels, "anomalous", "candidate"));
  metrics->only_live = &shadow_disagreements_.Add(With(labels, "anomalous", "live"));
  metrics->dropped_rows = &shadow_dropped_rows_.Add(labels);
  metrics->difference = &shadow_score_difference_.Add(labels, DifferenceBoundaries());
  metrics->candidate_seconds = &shadow_row_seconds_.Add(With(labels, "detector", "candidate"));
  metrics->live_seconds = &shadow_row_seconds_.Add(With(labels, "detector", "live"));
  return {metrics.release(), [this, key = std::move(key)](ShadowMetrics* released) {
            Release(key, *released);
            delete released;
          }};
}

void Metrics::Release(const Key& key, const ShadowMetrics& metrics) {
  absl::MutexLock lock(&mutex_);
  if (--shadow_holders_[key] > 0) return;
  shadow_holders_.erase(key);
  shadow_rows_.Remove(metrics.rows);
  shadow_disagreements_.Remove(metrics.only_candidate);
  shadow_disagreements_.Remove(metrics.only_live);
  shadow_dropped_rows_.Remove(metrics.dropped_rows);
  shadow_score_difference_.Remove(metrics.difference);
  shadow_row_seconds_.Remove(metrics.candidate_seconds);
  shadow_row_seconds_.Remove(metrics.live_seconds);
}

void Metrics::RecordRequest(Method method, grpc::StatusCode code, size_t calls) {
  const auto m = static_cast<size_t>(method);
  const size_t c = code >= 0 && code < kStatusCodes ? static_cast<size_t>(code) : static_cast<size_t>(grpc::UNKNOWN);
  std::atomic<prometheus::Counter*>& slot = request_counters_[m][c];
  prometheus::Counter* counter = slot.load(std::memory_order_acquire);
  if (counter == nullptr) {
    // Two threads may come here at once; both get the same counter.
    counter = &requests_.Add({{"method", kMethodNames[m]}, {"code", StatusCodeName(static_cast<grpc::StatusCode>(c))}});
    slot.store(counter, std::memory_order_release);
  }
  counter->Increment(static_cast<double>(calls));
}

void Metrics::RecordDuration(Method method, absl::Duration duration) {
  durations_[static_cast<size_t>(method)]->Observe(absl::ToDoubleSeconds(duration));
}

void Metrics::RecordDurations(Method method, std::span<const double> seconds) {
  ObserveSeconds(durations_[static_cast<size_t>(method)], seconds);
}

void Metrics::RecordQueueDurations(std::span<const double> seconds) { ObserveSeconds(queue_duration_, seconds); }

void Metrics::CountStreamRows(const EntityStreams::Counts& now, const EntityStreams::Counts& before) {
  Count(stream_late_rows_, now.late_rows - before.late_rows);
  Count(stream_duplicate_rows_, now.duplicate_rows - before.duplicate_rows);
  Count(stream_gaps_, now.gaps - before.gaps);
  Count(stream_entities_dropped_, now.dropped_entities - before.dropped_entities);
}

void Metrics::CountLoadFailure(const std::string& model) {
  absl::MutexLock lock(&mutex_);
  prometheus::Counter*& counter = failures_[model];
  if (counter == nullptr) counter = &load_failures_.Add({{"model", model}});
  counter->Increment();
}

void Metrics::DropLoadFailures(const std::string& model) {
  absl::MutexLock lock(&mutex_);
  const auto it = failures_.find(model);
  if (it == failures_.end()) return;
  load_failures_.Remove(it->second);
  failures_.erase(it);
}

}  // namespace astray
