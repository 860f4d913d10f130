#include "server/drift_metrics.h"

#include <algorithm>
#include <limits>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace astray {
namespace {

using prometheus::Labels;

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

Labels With(Labels labels, const char* name, const std::string& value) {
  labels.emplace(name, value);
  return labels;
}

}  // namespace

DriftMetrics::DriftMetrics(prometheus::Registry* registry) {
  const auto make = [registry](const char* name, const char* help) {
    return &prometheus::BuildGauge().Name(name).Help(help).Register(*registry);
  };
  numbers_[kMartingale] = make("astray_drift_martingale_log10",
                               "Test martingale of the errors' p-values; ever above x with probability 10^-x at most.");
  numbers_[kErrorChange] =
      make("astray_drift_error_change_log10", "Statistic of a change of the errors, whenever it came.");
  numbers_[kRateChange] = make("astray_drift_rate_change_log10", "Statistic of a rise of the share of anomalous rows.");
  numbers_[kAlarm] = make("astray_drift_alarm", "1 once errors or their rate changed, until the calibration does.");
  numbers_[kAnomalyRatio] = make("astray_drift_anomaly_ratio", "Share of anomalous rows of about the last 1000.");
  numbers_[kCountedRows] = make("astray_drift_counted_rows", "Rows that the drift tests took since the calibration.");
  numbers_[kPsiMax] = make("astray_drift_psi_max", "Largest population stability index of a feature.");
  numbers_[kShifted] = make("astray_drift_shifted_features", "Features whose values moved since training.");
  recommendations_ = make("astray_drift_recommendation", "1 for what to do about drift, 0 for the rest.");
  features_ = make("astray_drift_psi", "Population stability index of each of the first 64 features.");
}

DriftMetrics::Series DriftMetrics::Make(const Labels& labels) {
  Series series;
  for (size_t i = 0; i < kNumbers; ++i) series.numbers[i] = &numbers_[i]->Add(labels);
  for (size_t i = 0; i < kRecommendations; ++i) {
    const auto value = static_cast<v1::DriftSummary::Recommendation>(i);
    series.recommendations[i] = &recommendations_->Add(
        With(labels, "recommendation", absl::AsciiStrToLower(v1::DriftSummary::Recommendation_Name(value))));
  }
  return series;
}

void DriftMetrics::Set(const std::string& model, int64_t version, const v1::DriftSummary& summary) {
  const Labels labels{{"model", model}, {"version", absl::StrCat(version)}};
  absl::MutexLock lock(&mutex_);
  const auto [it, fresh] = series_.try_emplace({model, version});
  Series& series = it->second;
  if (fresh) series = Make(labels);
  const auto set = [&](Number number, double value) { series.numbers[number]->Set(value); };
  set(kMartingale, summary.martingale_log10());
  set(kErrorChange, summary.error_change_log10());
  set(kRateChange, summary.rate_change_log10());
  set(kAlarm, summary.alarm() ? 1 : 0);
  set(kAnomalyRatio, summary.anomaly_rate());
  set(kCountedRows, static_cast<double>(summary.counted_rows()));
  set(kPsiMax, summary.has_psi_max() ? summary.psi_max() : kUnknown);
  set(kShifted, summary.shifted_features());
  for (size_t i = 0; i < kRecommendations; ++i) {
    series.recommendations[i]->Set(static_cast<size_t>(summary.recommendation()) == i ? 1 : 0);
  }
  // The same version may come back with other features.
  std::set<std::string> named;
  for (size_t i = 0; i < std::min(kMaxFeatures, static_cast<size_t>(summary.features_size())); ++i) {
    const v1::FeatureDrift& feature = summary.features(static_cast<int>(i));
    named.insert(feature.feature());
    prometheus::Gauge*& gauge = series.features[feature.feature()];
    if (gauge == nullptr) gauge = &features_->Add(With(labels, "feature", feature.feature()));
    gauge->Set(feature.has_psi() ? feature.psi() : kUnknown);
  }
  std::erase_if(series.features, [&](const auto& entry) {
    if (named.contains(entry.first)) return false;
    features_->Remove(entry.second);
    return true;
  });
}

void DriftMetrics::Drop(const std::string& model, int64_t version) {
  absl::MutexLock lock(&mutex_);
  const auto it = series_.find({model, version});
  if (it == series_.end()) return;
  for (size_t i = 0; i < kNumbers; ++i) numbers_[i]->Remove(it->second.numbers[i]);
  for (prometheus::Gauge* gauge : it->second.recommendations) recommendations_->Remove(gauge);
  for (const auto& [feature, gauge] : it->second.features) features_->Remove(gauge);
  series_.erase(it);
}

}  // namespace astray
