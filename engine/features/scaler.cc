#include "engine/features/scaler.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <limits>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/scratch_vector.h"
#include "engine/base/status_macros.h"
#include "engine/features/column_profile.h"
#include "engine/features/feature_names.h"
#include "engine/features/row_scaling.h"

namespace astray {
namespace {

// Scale of a normal distribution's interquartile range: 2 Φ⁻¹(3/4).
constexpr double kInterquartileRangeOfNormal = 1.3489795003921634;

double SignedLog(double x) { return std::copysign(std::log1p(std::abs(x)), x); }
double SignedExp(double x) { return std::copysign(std::expm1(std::abs(x)), x); }

struct ColumnScale {
  double offset = 0;
  double scale = 1;
  double fill = 0;
};

absl::StatusOr<ColumnScale> FitColumn(v1::Scaling scaling, const ColumnStatistics& statistics) {
  const v1::ColumnProfile& profile = statistics.profile;
  ColumnScale column;
  switch (scaling) {
    case v1::STANDARD:
      column.offset = profile.mean();
      column.scale = profile.standard_deviation();
      break;
    case v1::MIN_MAX:
      column.offset = profile.min();
      column.scale = profile.max() - profile.min();
      break;
    case v1::ROBUST: {
      const double range = statistics.third_quartile - statistics.first_quartile;
      column.offset = profile.median();
      column.scale = range > kConstantRange * statistics.magnitude() ? range / kInterquartileRangeOfNormal
                                                                     : profile.standard_deviation();
      break;
    }
    case v1::LOG1P:
      column.fill = SignedLog(profile.mean());
      return column;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("features.scaling: expected STANDARD, MIN_MAX, ROBUST or LOG1P, got ", scaling));
  }
  if (profile.constant()) column.scale = std::max(1.0, kConstantRange * statistics.magnitude());
  if (scaling == v1::MIN_MAX) column.fill = (profile.mean() - column.offset) / column.scale;
  return column;
}

// Of deciles and shares, which older artifacts do not have.
absl::Status CheckBins(const v1::ColumnProfile& profile) {
  const int cuts = profile.deciles_size(), shares = profile.shares_size();
  if (cuts == 0 && shares == 0) return absl::OkStatus();
  if (cuts > kMaxCuts || shares != cuts + 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected at most ", kMaxCuts, " deciles and one share more, got ", cuts, " and ", shares));
  }
  for (int i = 0; i < cuts; ++i) {
    const double cut = profile.deciles(i);
    if (!(std::abs(cut) <= std::numeric_limits<float>::max()) || (i > 0 && cut <= profile.deciles(i - 1))) {
      return absl::InvalidArgumentError(
          absl::StrCat("decile ", i, ": expected ascending numbers within float32, got ", cut));
    }
  }
  double sum = 0;
  for (const double share : profile.shares()) {
    if (!(share >= 0 && share <= 1)) {
      return absl::InvalidArgumentError(absl::StrCat("shares: expected numbers from 0 to 1, got ", share));
    }
    sum += share;
  }
  if (!(std::abs(sum - 1) <= 1e-6)) {
    return absl::InvalidArgumentError(absl::StrCat("shares: expected a sum of 1, got ", sum));
  }
  return absl::OkStatus();
}

absl::Status CheckProfile(const v1::ColumnProfile& profile) {
  for (const double number :
       {profile.min(), profile.max(), profile.mean(), profile.standard_deviation(), profile.median()}) {
    if (!std::isfinite(number)) {
      return absl::InvalidArgumentError(absl::StrCat("expected finite numbers, got ", number));
    }
  }
  if (profile.min() > profile.max()) {
    return absl::InvalidArgumentError(absl::StrCat("expected min <= max, got ", profile.min(), " and ", profile.max()));
  }
  return CheckBins(profile);
}

// Sorting the columns of fewer values takes no time worth a thread.
constexpr size_t kValuesForThreads = size_t{1} << 22;
constexpr size_t kMostThreads = 8;

// Runs `work` on at most so many threads, no more than there are cores. The first error of any.
absl::Status InThreads(size_t most, const std::function<absl::Status()>& work) {
  const size_t count = std::clamp<size_t>(std::thread::hardware_concurrency(), 1, most);
  std::vector<absl::Status> statuses(count);
  std::vector<std::thread> others;
  for (size_t i = 1; i < count; ++i) others.emplace_back([&, i] { statuses[i] = work(); });
  statuses[0] = work();
  for (std::thread& thread : others) thread.join();
  for (const absl::Status& status : statuses) RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Scaler> Scaler::Fit(v1::Scaling scaling, const std::vector<std::string>& names,
                                   std::span<const std::span<const float>> parts, const Scratch& scratch) {
  size_t size = 0;
  bool whole = !names.empty();
  for (const std::span<const float> rows : parts) {
    size += rows.size();
    whole = whole && rows.size() % names.size() == 0;
  }
  if (!whole || size == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("rows: expected at least one row of ", names.size(), " values, got ", size, " values"));
  }
  const size_t rows = size / names.size();
  std::vector<absl::StatusOr<ColumnStatistics>> statistics(names.size());
  std::atomic<size_t> next = 0;
  const auto measure = [&]() -> absl::Status {
    ScratchVector<float> column_values(scratch);
    RETURN_IF_ERROR(column_values.Reserve(rows));
    const std::span<float> values = column_values.Extend(rows);
    for (size_t i = next++; i < names.size(); i = next++) {
      statistics[i] = MeasureColumn(names[i], parts, names.size(), i, values);
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(InThreads(size < kValuesForThreads ? 1 : std::min<size_t>(names.size(), kMostThreads), measure));

  Scaler scaler;
  scaler.state_.set_scaling(scaling);
  for (absl::StatusOr<ColumnStatistics>& measured : statistics) {
    RETURN_IF_ERROR(measured.status());
    ASSIGN_OR_RETURN(const ColumnScale column, FitColumn(scaling, *measured));
    scaler.state_.add_offset(column.offset);
    scaler.state_.add_scale(column.scale);
    scaler.state_.add_fill(column.fill);
    *scaler.state_.add_profile() = std::move(measured->profile);
  }
  scaler.KeepArrays();
  return scaler;
}

absl::StatusOr<Scaler> Scaler::FromState(const v1::ScalerState& state) {
  if (state.scaling() < v1::STANDARD || state.scaling() > v1::LOG1P) {
    return absl::InvalidArgumentError(
        absl::StrCat("scaler: scaling: expected STANDARD, MIN_MAX, ROBUST or LOG1P, got ", state.scaling()));
  }
  const int columns = state.offset_size();
  if (columns == 0 || static_cast<size_t>(columns) > kMaxFeatures) {
    return absl::InvalidArgumentError(
        absl::StrCat("scaler: offset: expected 1 to ", kMaxFeatures, " columns, got ", columns));
  }
  if (state.scale_size() != columns || state.fill_size() != columns || state.profile_size() != columns) {
    return absl::InvalidArgumentError(absl::StrCat("scaler: expected ", columns, " of each, got ", state.scale_size(),
                                                   " scales, ", state.fill_size(), " fills, ", state.profile_size(),
                                                   " profiles"));
  }
  for (int i = 0; i < columns; ++i) {
    if (!std::isfinite(state.offset(i))) {
      return absl::InvalidArgumentError(
          absl::StrCat("scaler: offset ", i, ": expected a finite number, got ", state.offset(i)));
    }
    if (!std::isfinite(state.scale(i)) || !(state.scale(i) > 0)) {
      return absl::InvalidArgumentError(
          absl::StrCat("scaler: scale ", i, ": expected a finite number above 0, got ", state.scale(i)));
    }
    if (!(std::abs(state.fill(i)) <= kLimit)) {
      return absl::InvalidArgumentError(
          absl::StrCat("scaler: fill ", i, ": expected a number within ±", kLimit, ", got ", state.fill(i)));
    }
    if (const absl::Status status = CheckProfile(state.profile(i)); !status.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("scaler: profile ", i, ": ", status.message()));
    }
  }
  Scaler scaler;
  scaler.state_ = state;
  scaler.KeepArrays();
  return scaler;
}

void Scaler::KeepArrays() {
  fill_.assign(state_.fill().begin(), state_.fill().end());
  for (size_t i = 0; i < fill_.size() + kScalingPadding; ++i) {
    const int column = static_cast<int>(i % fill_.size());
    offset_.push_back(state_.offset(column));
    inverse_scale_.push_back(std::min(1 / state_.scale(column), std::numeric_limits<double>::max()));
  }
}

bool Scaler::Scale(std::span<const float> rows, std::span<float> scaled) const {
  if (state_.scaling() == v1::LOG1P) {
    std::ranges::transform(rows, scaled.begin(), [](float value) { return static_cast<float>(SignedLog(value)); });
    rows = scaled.first(rows.size());
  }
  return ScaleRows(rows, columns(), offset_.data(), inverse_scale_.data(), kLimit, scaled.data());
}

bool Scaler::Fill(std::span<const float> rows, std::span<float> scaled, std::span<float> observed,
                  std::span<uint32_t> missing) const {
  return HoldAndFill(rows, columns(), kLimit, fill_.data(), scaled.data(), observed.data(), missing.data());
}

void Scaler::Apply(std::span<const float> rows, std::span<float> scaled, std::span<float> observed) const {
  std::ranges::fill(observed, 1.0f);
  if (Scale(rows, scaled)) return;
  std::vector<uint32_t> missing(rows.size() / columns());
  Fill(rows, scaled, observed, missing);
}

double Scaler::InvertValue(size_t column, double scaled) const {
  const double value = scaled * state_.scale(static_cast<int>(column)) + offset_[column];
  return state_.scaling() == v1::LOG1P ? SignedExp(value) : value;
}

float Scaler::InvertHeld(size_t column, double scaled) const {
  constexpr double kLargest = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(InvertValue(column, scaled), -kLargest, kLargest));
}

void Scaler::Invert(std::span<const float> scaled, std::span<float> rows) const {
  const size_t width = columns();
  for (size_t row = 0; row + width <= scaled.size(); row += width) {
    for (size_t i = 0; i < width; ++i) rows[row + i] = InvertHeld(i, scaled[row + i]);
  }
}

}  // namespace astray
