#include "engine/detect/drift_monitor.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace astray {
namespace {

constexpr double kMostFewFeatures = 5;
constexpr size_t kFeaturesNamed = 3;
constexpr double kMostAnomalous = 0.5;

// After so many sampled rows, what came before fades: as many as a quarter of training had, so that the cycles of a day
// that training saw are seen whole; within reason.
double MemoryRows(const Pipeline& pipeline, size_t spacing) {
  double rows = 0;
  for (const v1::ColumnProfile& profile : pipeline.scaler().state().profile()) {
    rows = std::max(rows, static_cast<double>(profile.observed()) + static_cast<double>(profile.missing()));
  }
  return std::clamp(rows / 4 / static_cast<double>(spacing), 256.0, 16384.0);
}

double Weight(const DriftMonitor::Options& options) { return 1 / static_cast<double>(options.spacing); }

// How many of the calibration's errors are above its threshold; of a tail's, as many as it promises.
double RowsAbove(const Calibration& calibration) {
  const double above = calibration.AtLeast(
      std::nextafter(static_cast<float>(calibration.threshold()), std::numeric_limits<float>::max()));
  const double promised = calibration.false_positive_rate() * static_cast<double>(calibration.samples());
  return calibration.tail() ? std::max(above, promised) : above;
}

constexpr size_t kUnknownSpacing = 32;  // windows

RowSampler::Options FeatureSampling(const DriftMonitor::Options& options, size_t features) {
  const double rows = std::max(options.values_per_second / static_cast<double>(features), 1.0);
  return {.spacing = options.spacing,
          .rows_per_second = rows,
          .burst_rows = std::max(rows, 2.0 * PopulationStability::kBlockRows)};
}

// Which features moved, worst first.
struct Moved {
  std::vector<size_t> shifted, missing;
};

double WorstPsi(const FeatureShift& shift, bool alarm) {
  return alarm ? std::max(shift.psi.value_or(0), shift.recent_psi.value_or(0)) : shift.psi.value_or(0);
}

// With the alarm up, the last few hundred rows speak alone, too: what moved just now is little of the longer memory.
Moved FindMoved(const std::vector<FeatureShift>& shifts, bool alarm) {
  Moved moved;
  for (size_t i = 0; i < shifts.size(); ++i) {
    if (shifts[i].went_missing) moved.missing.push_back(i);
    if (shifts[i].shifted || (alarm && shifts[i].recently_shifted)) moved.shifted.push_back(i);
  }
  std::ranges::stable_sort(moved.shifted,
                           [&](size_t a, size_t b) { return WorstPsi(shifts[a], alarm) > WorstPsi(shifts[b], alarm); });
  std::ranges::stable_sort(moved.missing, [&](size_t a, size_t b) {
    return shifts[a].recent_missing_ratio > shifts[b].recent_missing_ratio;
  });
  return moved;
}

template <typename Describe>
std::string Name(const std::vector<size_t>& features, Describe describe) {
  const size_t named = std::min(features.size(), kFeaturesNamed);
  std::string text = absl::StrJoin(features.begin(), features.begin() + static_cast<std::ptrdiff_t>(named), ", ",
                                   [&](std::string* out, size_t feature) { absl::StrAppend(out, describe(feature)); });
  if (named < features.size()) absl::StrAppend(&text, " and ", features.size() - named, " more");
  return text;
}

void Recommend(const std::vector<FeatureShift>& shifts, const std::vector<std::string>& names,
               v1::DriftSummary* summary) {
  const bool alarm = summary->alarm();
  const Moved moved = FindMoved(shifts, alarm);
  summary->set_shifted_features(static_cast<uint32_t>(moved.shifted.size()));
  const auto shift_of = [&](size_t i) {
    return absl::StrFormat("%s (PSI %.2f)", names[i], WorstPsi(shifts[i], alarm));
  };
  const auto missing_of = [&](size_t i) {
    return absl::StrFormat("%s (%.0f %% missing, %.0f %% in training)", names[i], 100 * shifts[i].recent_missing_ratio,
                           100 * shifts[i].trained_missing_ratio);
  };
  const double few = std::clamp(std::floor(static_cast<double>(names.size()) / 5), 1.0, kMostFewFeatures);
  const auto advise = [summary](v1::DriftSummary::Recommendation recommendation, std::string advice) {
    summary->set_recommendation(recommendation);
    summary->set_advice(std::move(advice));
  };
  if (!moved.missing.empty()) {
    advise(v1::DriftSummary::LOOK_AT_SENSORS,
           absl::StrCat("Look at the sensors: values went missing: ", Name(moved.missing, missing_of), "."));
  } else if (!moved.shifted.empty() && static_cast<double>(moved.shifted.size()) <= few) {
    advise(
        v1::DriftSummary::LOOK_AT_SENSORS,
        absl::StrCat("Look at the sensors: few features moved since training: ", Name(moved.shifted, shift_of), "."));
  } else if (!moved.shifted.empty()) {
    advise(v1::DriftSummary::RETRAIN, absl::StrCat("Retrain: ", moved.shifted.size(), " of ", names.size(),
                                                   " features moved: ", Name(moved.shifted, shift_of), "."));
  } else if (alarm && summary->anomaly_rate() > kMostAnomalous) {
    advise(
        v1::DriftSummary::RETRAIN,
        absl::StrFormat("Retrain, unless this is a fault: %.0f %% of recent rows are anomalous, though no feature by "
                        "itself moved: they hang together differently.",
                        100 * summary->anomaly_rate()));
  } else if (alarm) {
    advise(v1::DriftSummary::RECALIBRATE, absl::StrCat("Recalibrate, unless this is a fault: errors are ",
                                                       summary->mean_p_value() <= 0.5 ? "larger" : "smaller",
                                                       " than the calibration's, no feature by itself moved."));
  } else {
    advise(v1::DriftSummary::NOTHING, summary->sampled_rows() < PopulationStability::kBlockRows
                                          ? absl::StrCat("Nothing to do so far; features are judged from ",
                                                         PopulationStability::kBlockRows, " sampled rows on.")
                                          : "Nothing to do: the model fits what it scores.");
  }
}

}  // namespace

size_t DriftMonitor::Spacing(size_t window, double autocorrelation_time) {
  if (!(autocorrelation_time > 0)) return kUnknownSpacing * window;
  return std::max(window, static_cast<size_t>(std::ceil(std::min(autocorrelation_time, 1e6))));
}

DriftMonitor::DriftMonitor(const Calibration& calibration, const Pipeline& pipeline, const Options& options)
    : alarm_rows_(options.alarm_rows),
      calibration_epoch_(calibration.epoch()),
      false_positive_rate_(calibration.false_positive_rate()),
      feature_names_(pipeline.feature_names()),
      error_sampler_(
          {.spacing = options.spacing, .rows_per_second = options.rows_per_second, .burst_rows = options.burst_rows},
          options.seed),
      ranks_([&](float error) { return calibration.AtLeast(error); }, Weight(options), options.seed + 1),
      rate_(static_cast<double>(calibration.samples()) * Weight(options), RowsAbove(calibration) * Weight(options)),
      feature_sampler_(FeatureSampling(options, pipeline.features()), options.seed + 2),
      stability_(pipeline.scaler().state().profile(), MemoryRows(pipeline, options.spacing), options.spacing) {}

void DriftMonitor::Step(const Verdict& verdict) {
  errors_.Step(ranks_.Next(verdict.error));
  rate_.Step(verdict.anomalous);
  if (alarm_at_row_ == 0 && errors_.change() + rate_.change() >= 2 * alarm_rows_) alarm_at_row_ = errors_.steps();
}

void DriftMonitor::ObserveVerdicts(std::span<const Verdict> verdicts, absl::Time now) {
  if (!errors_mutex_.TryLock()) return;
  size_t scored = 0, anomalous = 0;
  for (const Verdict& verdict : verdicts) {
    scored += verdict.state == Verdict::State::kScored ? 1 : 0;
    anomalous += verdict.anomalous ? 1 : 0;
  }
  scored_rows_ += scored;
  rate_.Count(scored, anomalous);
  error_sampler_.Begin(now);
  for (size_t row = 0; error_sampler_.Next(verdicts.size(), &row);) {
    if (verdicts[row].state == Verdict::State::kScored) Step(verdicts[row]);
  }
  errors_mutex_.Unlock();
}

void DriftMonitor::ObserveRows(std::span<const float> rows, absl::Time now) {
  const size_t features = feature_names_.size();
  if (!features_mutex_.TryLock()) return;
  feature_sampler_.Begin(now);
  for (size_t row = 0; feature_sampler_.Next(rows.size() / features, &row);) {
    stability_.Add(rows.subspan(row * features, features));
  }
  features_mutex_.Unlock();
}

void DriftMonitor::SummarizeErrors(v1::DriftSummary* summary) const {
  absl::MutexLock lock(&errors_mutex_);
  summary->set_scored_rows(scored_rows_);
  summary->set_counted_rows(errors_.steps());
  summary->set_spacing(static_cast<uint32_t>(error_sampler_.spacing()));
  summary->set_martingale_log10(errors_.martingale_log10());
  summary->set_martingale_peak_log10(errors_.martingale_peak_log10());
  const auto log10 = [](double change) { return std::log10(std::max(change, 1e-3)); };
  summary->set_error_change_log10(log10(errors_.change()));
  summary->set_rate_change_log10(log10(rate_.change()));
  summary->set_alarm_rows(alarm_rows_);
  summary->set_alarm(alarm_at_row_ > 0);
  summary->set_alarm_at_row(alarm_at_row_);
  summary->set_mean_p_value(errors_.mean_p_value());
  summary->set_anomaly_rate(rate_.recent());
  summary->set_calibrated_anomaly_rate(false_positive_rate_);
}

std::vector<FeatureShift> DriftMonitor::SummarizeFeatures(v1::DriftSummary* summary) const {
  std::vector<FeatureShift> shifts;
  shifts.reserve(feature_names_.size());
  {
    absl::MutexLock lock(&features_mutex_);
    summary->set_sampled_rows(stability_.rows());
    for (size_t i = 0; i < feature_names_.size(); ++i) shifts.push_back(stability_.Shift(i));
  }
  for (size_t i = 0; i < shifts.size(); ++i) {
    v1::FeatureDrift* feature = summary->add_features();
    feature->set_feature(feature_names_[i]);
    if (shifts[i].psi.has_value()) {
      feature->set_psi(*shifts[i].psi);
      feature->set_recent_psi(*shifts[i].recent_psi);
      summary->set_psi_max(std::max(summary->psi_max(), *shifts[i].psi));
    }
    feature->set_missing_ratio(shifts[i].recent_missing_ratio);
    feature->set_trained_missing_ratio(shifts[i].trained_missing_ratio);
  }
  return shifts;
}

v1::DriftSummary DriftMonitor::Summarize() const {
  v1::DriftSummary summary;
  SummarizeErrors(&summary);
  Recommend(SummarizeFeatures(&summary), feature_names_, &summary);
  return summary;
}

}  // namespace astray
