// What Prometheus sees of DriftSummary, for each (model, version). Series are made by the first Set and stay until
// Drop. A feature label is made for a model's first kMaxFeatures features only. Thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "astray/v1/service.pb.h"
#include "prometheus/family.h"
#include "prometheus/gauge.h"
#include "prometheus/registry.h"

namespace astray {

class DriftMetrics {
 public:
  static constexpr size_t kMaxFeatures = 64;

  // Must not outlive `registry`.
  explicit DriftMetrics(prometheus::Registry* registry);

  void Set(const std::string& model, int64_t version, const v1::DriftSummary& summary) ABSL_LOCKS_EXCLUDED(mutex_);
  void Drop(const std::string& model, int64_t version) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Family = prometheus::Family<prometheus::Gauge>;
  enum Number { kMartingale, kErrorChange, kRateChange, kAlarm, kAnomalyRatio, kCountedRows, kPsiMax, kShifted };
  static constexpr size_t kNumbers = kShifted + 1;
  static constexpr size_t kRecommendations = v1::DriftSummary::Recommendation_ARRAYSIZE;

  struct Series {
    std::array<prometheus::Gauge*, kNumbers> numbers;
    std::array<prometheus::Gauge*, kRecommendations> recommendations;
    std::map<std::string, prometheus::Gauge*> features;
  };

  Series Make(const prometheus::Labels& labels);

  std::array<Family*, kNumbers> numbers_;
  Family* recommendations_;
  Family* features_;
  absl::Mutex mutex_;
  std::map<std::pair<std::string, int64_t>, Series> series_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace astray
