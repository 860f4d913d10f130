// Does a model still fit what it scores? Watches the errors (exchangeability_test.h), the share of anomalous rows
// (anomaly_rate.h) and the values of each feature (population_stability.h), and says what to do.
//
// The alarm is up once the mean of the two change statistics has reached `alarm_rows`: on data exchangeable with the
// calibration, after that many counted rows on average or more, and within N counted rows with probability at most
// N / alarm_rows. It stays up. A monitor is of one calibration; a new calibration gets a new monitor.
//
// Where spacing is above 1, calibration errors resemble their neighbours as live ones do: each counts as 1 / spacing of
// one, so that they are not believed more than so many independent ones. The bounds are then as good as that is.
//
// Thread-safe. Scoring never waits for it: a call that meets another one is not counted, whatever its rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "astray/v1/service.pb.h"
#include "engine/detect/anomaly_rate.h"
#include "engine/detect/calibration.h"
#include "engine/detect/detector.h"
#include "engine/detect/error_ranks.h"
#include "engine/detect/exchangeability_test.h"
#include "engine/detect/population_stability.h"
#include "engine/detect/row_sampler.h"
#include "engine/features/pipeline.h"

namespace astray {

class DriftMonitor {
 public:
  struct Options {
    size_t spacing = 1;           // rows from one that counts to the next, at least; 1 where rows are independent
    double alarm_rows = 1e8;      // with rows_per_second: 115 days between false alarms, or more
    double rows_per_second = 10;  // that the tests take, once a burst is used up
    double values_per_second = 200'000;  // that are counted for population stability
    double burst_rows = 2000;
    uint64_t seed = 1;
  };

  // Rows apart from which errors are nearly independent: their autocorrelation time, 1 + 2 (the sum of their
  // autocorrelations), and no less than a window, so that none overlap. Where the time is not known (0), 32 windows.
  static size_t Spacing(size_t window, double autocorrelation_time);

  DriftMonitor(const Calibration& calibration, const Pipeline& pipeline, const Options& options);

  // Verdicts in the order of their rows; those that are not scored are passed over.
  void ObserveVerdicts(std::span<const Verdict> verdicts, absl::Time now) ABSL_LOCKS_EXCLUDED(errors_mutex_);
  // rows: [n x features], each row once.
  void ObserveRows(std::span<const float> rows, absl::Time now) ABSL_LOCKS_EXCLUDED(features_mutex_);

  astray::v1::DriftSummary Summarize() const ABSL_LOCKS_EXCLUDED(errors_mutex_, features_mutex_);

  uint64_t calibration_epoch() const { return calibration_epoch_; }
  const std::vector<std::string>& feature_names() const { return feature_names_; }

 private:
  void Step(const Verdict& verdict) ABSL_EXCLUSIVE_LOCKS_REQUIRED(errors_mutex_);
  void SummarizeErrors(astray::v1::DriftSummary* summary) const ABSL_LOCKS_EXCLUDED(errors_mutex_);
  std::vector<FeatureShift> SummarizeFeatures(astray::v1::DriftSummary* summary) const
      ABSL_LOCKS_EXCLUDED(features_mutex_);

  const double alarm_rows_;
  const uint64_t calibration_epoch_;
  const double false_positive_rate_;
  const std::vector<std::string> feature_names_;

  mutable absl::Mutex errors_mutex_;
  RowSampler error_sampler_ ABSL_GUARDED_BY(errors_mutex_);
  ErrorRanks ranks_ ABSL_GUARDED_BY(errors_mutex_);
  ExchangeabilityTest errors_ ABSL_GUARDED_BY(errors_mutex_);
  AnomalyRate rate_ ABSL_GUARDED_BY(errors_mutex_);
  uint64_t scored_rows_ ABSL_GUARDED_BY(errors_mutex_) = 0;
  uint64_t alarm_at_row_ ABSL_GUARDED_BY(errors_mutex_) = 0;

  mutable absl::Mutex features_mutex_;
  RowSampler feature_sampler_ ABSL_GUARDED_BY(features_mutex_);
  PopulationStability stability_ ABSL_GUARDED_BY(features_mutex_);
};

}  // namespace astray
