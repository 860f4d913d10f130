#include "engine/detect/calibration.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/shown_text.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

// (n + 1) * rate is rarely exact: 1000 * 0.001 must count as 1.
constexpr double kRounding = 1e-9;

bool IsSha256Hex(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

absl::Status CheckOrigin(const Calibration::Origin& origin) {
  if (origin.epoch == 0) return absl::InvalidArgumentError("epoch: expected at least 1, got 0");
  if (origin.created_unix_seconds < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("created_unix_seconds: expected at least 0, got ", origin.created_unix_seconds));
  }
  if (!origin.artifact_sha256.empty() && !IsSha256Hex(origin.artifact_sha256)) {
    return absl::InvalidArgumentError("artifact_sha256: expected 64 lower-case hex digits or nothing");
  }
  return absl::OkStatus();
}

// ⌊(n+1)a⌋: how many of n + 1 errors lie above the threshold.
uint64_t RowsAbove(uint64_t n, double false_positive_rate) {
  return static_cast<uint64_t>(std::floor(static_cast<double>(n + 1) * false_positive_rate + kRounding));
}

// ⌈(n+1)(1-a)⌉ = n + 1 - ⌊(n+1)a⌋; the sample resolves the rate.
double RankThreshold(const ErrorSample& sample, double false_positive_rate) {
  const double threshold = sample.Threshold(RowsAbove(sample.samples(), false_positive_rate));
  if (threshold > 0) return threshold;
  // Raising a threshold flags less, so the guarantee stands.
  const auto positive = std::upper_bound(sample.largest().begin(), sample.largest().end(), 0.0f);
  return positive == sample.largest().end() ? std::numeric_limits<float>::min() : *positive;
}

// How many samples a tail that says something of the rate takes.
double SamplesForTail(double false_positive_rate) {
  return std::max<double>(TailFit::kMinSamples, std::ceil(TailFit::kFinestRatio / false_positive_rate - 1 - kRounding));
}

absl::Status CheckRate(double false_positive_rate) {
  if (false_positive_rate > 0 && false_positive_rate < 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("false_positive_rate: expected a number above 0 and below 1, got ", false_positive_rate));
}

double Resolution(const ErrorSample& sample) { return 1.0 / (static_cast<double>(sample.samples()) + 1); }

// The float above the tail's quantile: errors are floats.
double TailThreshold(const TailFit& tail, double false_positive_rate) {
  return std::nextafterf(static_cast<float>(tail.Quantile(false_positive_rate)), std::numeric_limits<float>::max());
}

double TailPValue(const ErrorSample& sample, const TailFit& tail, float error) {
  return std::max(tail.Exceedance(error), TailFit::kFinestRatio * Resolution(sample));
}

absl::Status InGroup(absl::string_view group, const absl::Status& status) {
  return absl::InvalidArgumentError(absl::StrCat(group, ": ", status.message()));
}

}  // namespace

bool Calibration::Resolves(uint64_t samples, double false_positive_rate) {
  return RowsAbove(samples, false_positive_rate) >= 1;
}

absl::Status Calibration::CheckSamples(uint64_t samples, double false_positive_rate) {
  if (Resolves(samples, false_positive_rate)) return absl::OkStatus();
  const double for_tail = SamplesForTail(false_positive_rate);
  if (static_cast<double>(samples) >= for_tail) return absl::OkStatus();
  const double needed = std::ceil(1 / false_positive_rate - 1 - kRounding);
  return absl::FailedPreconditionError(
      absl::StrCat("a false-positive rate of ", false_positive_rate, " takes at least ", needed,
                   " calibration vectors, got ", samples, " (finest rate: ", 1.0 / static_cast<double>(samples + 1),
                   ")", needed > for_tail ? absl::StrCat(", or ", for_tail, " and a tail that fits") : ""));
}

absl::StatusOr<Calibration> Calibration::Create(const std::vector<float>& errors, double false_positive_rate,
                                                Origin origin) {
  if (errors.empty() || errors.size() > kMaxSamples) {
    return absl::InvalidArgumentError(
        absl::StrCat("errors: expected 1 to ", kMaxSamples, " of them, got ", errors.size()));
  }
  CalibrationSamples samples;
  for (size_t i = 0; i < errors.size(); ++i) {
    if (!std::isfinite(errors[i]) || errors[i] < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("error ", i, ": expected a finite number of at least 0, got ", errors[i]));
    }
    samples.all.Add(errors[i]);
  }
  return Create(std::move(samples), false_positive_rate, std::move(origin));
}

absl::StatusOr<Calibration> Calibration::Create(CalibrationSamples samples, double false_positive_rate, Origin origin) {
  RETURN_IF_ERROR(CheckRate(false_positive_rate));
  samples.Seal();
  Tails tails;
  for (const auto& [name, sample] : samples.segments) {
    tails.segments.push_back(FitSegment(sample, false_positive_rate));
  }
  return Make(std::move(samples), false_positive_rate, std::move(origin), std::move(tails));
}

Calibration::SegmentTail Calibration::FitSegment(const ErrorSample& sample, double false_positive_rate) {
  const uint64_t n = sample.samples();
  if (Resolves(n, false_positive_rate) || !CheckSamples(n, false_positive_rate).ok()) return {};
  absl::StatusOr<TailFit> fit = TailFit::Fit(sample.largest(), n);
  if (!fit.ok()) return {.fit = std::nullopt, .none_fits = true};
  return {.fit = *std::move(fit), .none_fits = false};
}

absl::StatusOr<Calibration> Calibration::Make(CalibrationSamples samples, double false_positive_rate, Origin origin,
                                              Tails tails) {
  RETURN_IF_ERROR(CheckOrigin(origin));
  const uint64_t n = samples.all.samples();
  if (n == 0) return absl::InvalidArgumentError("errors: expected 1 or more, got 0");
  RETURN_IF_ERROR(CheckSamples(n, false_positive_rate));
  if (!Resolves(n, false_positive_rate) && !tails.all) {
    absl::StatusOr<TailFit> fit = TailFit::Fit(samples.all.largest(), n);
    if (!fit.ok()) {
      return absl::FailedPreconditionError(
          absl::StrCat("a false-positive rate of ", false_positive_rate, " takes at least ",
                       std::ceil(1 / false_positive_rate - 1 - kRounding), " calibration vectors, got ", n,
                       " (finest rate: ", 1.0 / static_cast<double>(n + 1), "), and ", fit.status().message()));
    }
    tails.all = *std::move(fit);
  }

  Calibration calibration;
  calibration.all_.sample = std::move(samples.all);
  calibration.all_.tail = tails.all;
  for (auto& [name, sample] : samples.segments) {
    const SegmentTail& tail = tails.segments[calibration.segments_.size()];
    calibration.segments_.push_back(
        {.name = name, .sample = std::move(sample), .tail = tail.fit, .no_tail_fits = tail.none_fits});
  }
  for (size_t i = 0; i < kMissingLevels; ++i) calibration.missing_levels_[i].sample = std::move(samples.missing[i]);
  calibration.false_positive_rate_ = false_positive_rate;
  calibration.autocorrelation_time_ = samples.autocorrelation_time;
  calibration.block_rows_ = samples.block_rows;
  calibration.false_alarms_ = std::move(samples.false_alarms);
  calibration.origin_ = std::move(origin);
  calibration.SetThresholds();
  return calibration;
}

void Calibration::SetThresholds() {
  const auto set = [&](Group* group) {
    group->own = group->tail || Resolves(group->sample.samples(), false_positive_rate_);
    if (!group->own) {
      group->threshold = all_.threshold;
    } else if (group->tail) {
      group->tail_begin = group->tail->Quantile(Resolution(group->sample));
      group->threshold = TailThreshold(*group->tail, false_positive_rate_);
    } else {
      group->threshold = RankThreshold(group->sample, false_positive_rate_);
    }
  };
  set(&all_);  // whose own it is: CheckSamples
  for (Group& segment : segments_) set(&segment);
  for (Group& level : missing_levels_) set(&level);
}

absl::StatusOr<TailFit> Calibration::TailFromState(const v1::TailState& state, uint64_t samples,
                                                   double false_positive_rate) {
  ASSIGN_OR_RETURN(TailFit tail, TailFit::FromState(state));
  if (!(tail.start_exceedance() >= 1 / (static_cast<double>(samples) + 1))) {
    return absl::InvalidArgumentError("tail: expected a start that is exceeded more often than the finest rate");
  }
  if (Resolves(samples, false_positive_rate)) {
    return absl::InvalidArgumentError(
        absl::StrCat("tail: expected none for a rate of ", false_positive_rate, " and ", samples, " errors"));
  }
  RETURN_IF_ERROR(CheckSamples(samples, false_positive_rate));
  return tail;
}

absl::StatusOr<Calibration> Calibration::FromState(const v1::CalibrationState& state) {
  RETURN_IF_ERROR(CheckRate(state.false_positive_rate()));
  if (static_cast<size_t>(state.errors_size()) > kMaxSamples) {
    return absl::InvalidArgumentError(
        absl::StrCat("errors: expected 1 to ", kMaxSamples, " of them, got ", state.errors_size()));
  }
  CalibrationSamples samples;
  Tails tails;
  ASSIGN_OR_RETURN(samples.all,
                   ErrorSample::FromState({state.errors().data(), static_cast<size_t>(state.errors_size())},
                                          state.has_sketch() ? &state.sketch() : nullptr, ErrorSample::kAllRows));
  if (static_cast<size_t>(state.segments_size()) > CalibrationSamples::kMaxSegments) {
    return absl::InvalidArgumentError(
        absl::StrCat("segments: expected at most ", CalibrationSamples::kMaxSegments, ", got ", state.segments_size()));
  }
  for (const v1::SegmentState& segment : state.segments()) {
    const std::string group = absl::StrCat("segment '", ShownText(segment.name()), "'");
    RETURN_IF_ERROR(CalibrationSamples::CheckSegment(segment.name()));
    if (segment.name().empty() || (!samples.segments.empty() && samples.segments.rbegin()->first >= segment.name())) {
      return absl::InvalidArgumentError(absl::StrCat(group, ": expected ascending names that are not empty"));
    }
    absl::StatusOr<ErrorSample> sample = ErrorSample::FromState(segment.sample(), ErrorSample::kGroup);
    if (!sample.ok()) return InGroup(group, sample.status());
    SegmentTail& tail = tails.segments.emplace_back();
    if (segment.has_tail()) {
      absl::StatusOr<TailFit> fit = TailFromState(segment.tail(), sample->samples(), state.false_positive_rate());
      if (!fit.ok()) return InGroup(group, fit.status());
      tail.fit = *std::move(fit);
    } else {
      // Also where a tail could be fitted now: what was judged by all rows goes on as it was.
      tail.none_fits = segment.no_tail_fits();
    }
    samples.segments.emplace(segment.name(), *std::move(sample));
  }
  uint32_t last = 0;
  for (const v1::MissingLevelState& level : state.missing_levels()) {
    if (level.level() <= last || level.level() > kMissingLevels) {
      return absl::InvalidArgumentError(
          absl::StrCat("missing_levels: expected ascending levels of 1 to ", kMissingLevels, ", got ", level.level()));
    }
    last = level.level();
    absl::StatusOr<ErrorSample> sample = ErrorSample::FromState(level.sample(), ErrorSample::kGroup);
    if (!sample.ok()) return InGroup(absl::StrCat("missing level ", last), sample.status());
    samples.missing[last - 1] = *std::move(sample);
  }
  if (state.autocorrelation_time() != 0 &&
      !(state.autocorrelation_time() >= 1 && state.autocorrelation_time() < 1e15)) {
    return absl::InvalidArgumentError(
        absl::StrCat("autocorrelation_time: expected 0 or at least 1, got ", state.autocorrelation_time()));
  }
  samples.autocorrelation_time = state.autocorrelation_time();
  samples.block_rows = state.block_rows();
  if (static_cast<size_t>(state.false_alarms_size()) > CalibrationSamples::kMaxFalseAlarms) {
    return absl::InvalidArgumentError(absl::StrCat(
        "false_alarms: expected at most ", CalibrationSamples::kMaxFalseAlarms, ", got ", state.false_alarms_size()));
  }
  samples.false_alarms.assign(state.false_alarms().begin(), state.false_alarms().end());
  if (!std::ranges::is_sorted(samples.false_alarms, std::less_equal<>())) {
    return absl::InvalidArgumentError("false_alarms: expected ascending numbers");
  }
  if (state.has_tail()) {
    ASSIGN_OR_RETURN(tails.all, TailFromState(state.tail(), samples.all.samples(), state.false_positive_rate()));
  }
  return Make(std::move(samples), state.false_positive_rate(),
              {.epoch = state.epoch(),
               .created_unix_seconds = state.created_unix_seconds(),
               .artifact_sha256 = state.artifact_sha256()},
              std::move(tails));
}

v1::CalibrationState Calibration::ToState() const {
  v1::CalibrationState state;
  state.mutable_errors()->Add(all_.sample.largest().begin(), all_.sample.largest().end());
  if (all_.sample.has_sketch()) *state.mutable_sketch() = all_.sample.SketchToState();
  state.set_false_positive_rate(false_positive_rate_);
  state.set_epoch(origin_.epoch);
  state.set_created_unix_seconds(origin_.created_unix_seconds);
  state.set_artifact_sha256(origin_.artifact_sha256);
  for (const Group& segment : segments_) {
    v1::SegmentState* message = state.add_segments();
    message->set_name(segment.name);
    *message->mutable_sample() = segment.sample.ToState();
    if (segment.tail) *message->mutable_tail() = segment.tail->ToState();
    message->set_no_tail_fits(segment.no_tail_fits);
  }
  for (size_t i = 0; i < kMissingLevels; ++i) {
    if (missing_levels_[i].sample.samples() == 0) continue;
    v1::MissingLevelState* message = state.add_missing_levels();
    message->set_level(static_cast<uint32_t>(i + 1));
    *message->mutable_sample() = missing_levels_[i].sample.ToState();
  }
  state.set_autocorrelation_time(autocorrelation_time_);
  state.set_block_rows(block_rows_);
  state.mutable_false_alarms()->Add(false_alarms_.begin(), false_alarms_.end());
  if (all_.tail) *state.mutable_tail() = all_.tail->ToState();
  return state;
}

double Calibration::Group::PValue(float error) const {
  // Up to there the tail's are not below the finest rate, and ranks are known.
  return tail && error > tail_begin ? TailPValue(sample, *tail, error) : sample.PValue(error);
}

void Calibration::PValues(std::span<const float> errors, std::vector<uint32_t>* ranks,
                          std::span<double> p_values) const {
  all_.sample.PValues(errors, ranks, p_values);
  if (!all_.tail) return;
  for (size_t i = 0; i < errors.size(); ++i) {
    if (errors[i] > all_.tail_begin) p_values[i] = TailPValue(all_.sample, *all_.tail, errors[i]);
  }
}

uint32_t Calibration::SegmentIndex(absl::string_view name) const {
  const auto found = std::ranges::lower_bound(segments_, name, {},
                                              [](const Group& segment) { return absl::string_view(segment.name); });
  if (found == segments_.end() || found->name != name) return 0;
  return static_cast<uint32_t>(found - segments_.begin()) + 1;
}

Calibration::Judgement Calibration::Judge(float error, uint32_t segment, uint8_t missing_level) const {
  return Judge(error, PValue(error), segment, missing_level);
}

Calibration::Judgement Calibration::JudgeByGroups(float error, double p_value, uint32_t segment,
                                                  uint8_t missing_level) const {
  Judgement judgement = {.threshold = 0, .p_value = 0};
  const auto add = [&](const Group& group) {
    if (!group.own) return;
    judgement.threshold = std::max(judgement.threshold, group.threshold);
    judgement.p_value = std::max(judgement.p_value, group.PValue(error));
  };
  if (segment > 0) add(segments_[segment - 1]);
  if (missing_level > 0) add(missing_levels_[missing_level - 1]);
  if (judgement.threshold > 0) return judgement;
  return {.threshold = threshold(), .p_value = p_value};
}

double Calibration::effective_samples() const {
  return static_cast<double>(samples()) / std::max(autocorrelation_time_, 1.0);
}

CalibrationSamples Calibration::ToSamples() const {
  CalibrationSamples samples;
  samples.all = all_.sample;
  for (const Group& segment : segments_) samples.segments.emplace(segment.name, segment.sample);
  for (size_t i = 0; i < kMissingLevels; ++i) samples.missing[i] = missing_levels_[i].sample;
  samples.autocorrelation_time = autocorrelation_time_;
  samples.block_rows = block_rows_;
  samples.false_alarms = false_alarms_;
  return samples;
}

}  // namespace astray
