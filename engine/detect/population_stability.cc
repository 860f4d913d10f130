#include "engine/detect/population_stability.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace astray {
namespace {

constexpr double kPseudoRows = 0.5;  // a bin's
constexpr double kMissingRise = 0.1;

}  // namespace

PopulationStability::PopulationStability(const google::protobuf::RepeatedPtrField<v1::ColumnProfile>& profiles,
                                         double memory_rows, size_t row_spacing)
    : columns_(static_cast<size_t>(profiles.size())),
      fading_(std::exp(-static_cast<double>(kBlockRows) / memory_rows)),
      block_(columns_.size() * kBins),
      last_block_(columns_.size() * kBins),
      past_(columns_.size() * kBins) {
  for (size_t i = 0; i < columns_.size(); ++i) {
    const v1::ColumnProfile& profile = profiles[static_cast<int>(i)];
    Column& column = columns_[i];
    std::ranges::fill(column.cuts, std::numeric_limits<float>::infinity());
    std::ranges::copy(profile.deciles(), column.cuts);
    const double rows = static_cast<double>(profile.observed()) + static_cast<double>(profile.missing());
    const double missing = rows > 0 ? static_cast<double>(profile.missing()) / rows : 0;
    std::ranges::fill(column.trained, 0.0);
    for (int bin = 0; bin < profile.shares_size(); ++bin) column.trained[bin] = profile.shares(bin) * (1 - missing);
    column.trained[kBins - 1] = missing;
    column.value_bins = static_cast<size_t>(profile.shares_size());
    column.trained_rows = std::max(rows / static_cast<double>(row_spacing), 1.0);
  }
}

void PopulationStability::Add(std::span<const float> row) {
  uint32_t* counts = block_.data();
  for (size_t i = 0; i < columns_.size(); ++i, counts += kBins) {
    const float value = row[i];
    if (std::isnan(value)) {
      ++counts[kBins - 1];
      continue;
    }
    size_t bin = 0;
    for (const float cut : columns_[i].cuts) bin += value > cut ? 1 : 0;
    ++counts[bin];
  }
  ++rows_;
  if (++block_rows_ == kBlockRows) EndBlock();
}

void PopulationStability::EndBlock() {
  const auto fading = static_cast<float>(fading_);
  for (size_t i = 0; i < past_.size(); ++i) past_[i] = past_[i] * fading + static_cast<float>(block_[i]);
  past_rows_ = past_rows_ * fading_ + kBlockRows;
  last_block_.swap(block_);
  std::ranges::fill(block_, 0u);
  last_block_rows_ = block_rows_;
  block_rows_ = 0;
}

PopulationStability::Divergence PopulationStability::Compare(const Column& column, std::span<const double> counts,
                                                             double rows) {
  const size_t bins = column.value_bins + 1;
  const double pseudo = kPseudoRows * static_cast<double>(bins);
  double sum = 0, filled = 0;
  const auto add = [&](size_t bin) {
    const double live = (counts[bin] + kPseudoRows) / (rows + pseudo);
    const double trained = (column.trained[bin] * column.trained_rows + kPseudoRows) / (column.trained_rows + pseudo);
    sum += (live - trained) * std::log(live / trained);
    filled += column.trained[bin] > 0 ? 1 : 0;
  };
  for (size_t bin = 0; bin < column.value_bins; ++bin) add(bin);
  add(kBins - 1);
  // Without a change PSI / (1 / n + 1 / m) is about chi-squared with bins - 1 degrees of freedom.
  const double noise = 1 / rows + 1 / column.trained_rows, freedom = std::max(filled - 1, 0.0);
  Divergence divergence;
  divergence.psi = std::max(sum - freedom * noise, 0.0);
  divergence.shifted = divergence.psi > kShifted && divergence.psi > 5 * std::sqrt(2 * std::max(freedom, 1.0)) * noise;
  return divergence;
}

FeatureShift PopulationStability::Shift(size_t feature) const {
  const Column& column = columns_[feature];
  FeatureShift shift;
  shift.trained_missing_ratio = column.trained[kBins - 1];
  const double rows = past_rows_ + block_rows_;
  const double recent_rows = static_cast<double>(last_block_rows_) + block_rows_;
  if (rows_ == 0) return shift;
  std::array<double, kBins> all, recent;
  for (size_t bin = 0; bin < kBins; ++bin) {
    const size_t i = feature * kBins + bin;
    all[bin] = static_cast<double>(past_[i]) + block_[i];
    recent[bin] = static_cast<double>(last_block_[i]) + block_[i];
  }
  shift.recent_missing_ratio = recent[kBins - 1] / recent_rows;
  if (rows_ < kBlockRows) return shift;
  const double trained = shift.trained_missing_ratio;
  const double deviation = std::sqrt(trained * (1 - trained) * (1 / recent_rows + 1 / column.trained_rows));
  shift.went_missing = shift.recent_missing_ratio > trained + kMissingRise + 4 * deviation;
  if (column.value_bins == 0) return shift;
  const Divergence of_all = Compare(column, all, rows), of_recent = Compare(column, recent, recent_rows);
  shift.psi = of_all.psi;
  shift.shifted = of_all.shifted;
  shift.recent_psi = of_recent.psi;
  shift.recently_shifted = of_recent.shifted;
  return shift;
}

}  // namespace astray
