#include "engine/detect/hindsight.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/detect/check_numbers.h"
#include "engine/detect/score_kind.h"

namespace astray {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

bool ByFeature(const v1::ScoreScale& scale) { return scale.kind() == v1::WINDOW_SCALES; }

constexpr int kMaxLengths = 8;

size_t LongestNear(const v1::ScoreScale& scale, size_t window) { return ByFeature(scale) ? window : 8 * window + 1; }

std::vector<uint32_t> LengthsOf(const Detector& detector, const v1::HindsightScale& scale) {
  if (scale.rows_near_size() > 0) return {scale.rows_near().begin(), scale.rows_near().end()};
  const auto window = static_cast<uint32_t>(detector.window());
  if (ByFeature(detector.model().score_scale)) return {static_cast<uint32_t>(NewestQuarter(window))};
  return {2 * window + 1};
}

absl::Status CheckRowsNear(const v1::HindsightScale& scale, size_t longest) {
  if (scale.rows_near_size() > kMaxLengths) {
    return absl::InvalidArgumentError(
        absl::StrCat("hindsight: rows_near: expected at most ", kMaxLengths, " lengths, got ", scale.rows_near_size()));
  }
  uint32_t last = 0;
  for (int i = 0; i < scale.rows_near_size(); ++i) {
    const uint32_t rows = scale.rows_near(i);
    if (rows <= last || rows > longest) {
      return absl::InvalidArgumentError(absl::StrCat("hindsight: rows_near ", i, ": expected more than ", last,
                                                     " and at most ", longest, " rows, got ", rows));
    }
    last = rows;
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<uint32_t> RowsNear(v1::ScoreKind kind, size_t window) {
  const auto rows = static_cast<uint32_t>(window);
  if (kind != v1::WINDOW_SCALES) return {2 * rows + 1, 4 * rows + 1, 8 * rows + 1};
  std::vector<uint32_t> lengths;
  for (const uint32_t share : {16, 8, 4, 2}) {
    const uint32_t length = (rows + share - 1) / share;
    if (lengths.empty() || length > lengths.back()) lengths.push_back(length);
  }
  return lengths;
}

absl::Status CheckHindsightScale(const v1::HindsightScale& scale, const v1::ScoreScale& score, size_t features,
                                 size_t window) {
  if (window < 2) return absl::InvalidArgumentError("hindsight: expected a model of windows");
  const size_t expected = ByFeature(score) ? features : 0;
  RETURN_IF_ERROR(CheckNumbers("hindsight: variance", scale.variance(), expected, /*positive=*/true));
  const size_t places = ByFeature(score) ? window : 1;
  if (scale.first_place() >= places) {
    return absl::InvalidArgumentError(
        absl::StrCat("hindsight: first_place: expected less than ", places, ", got ", scale.first_place()));
  }
  RETURN_IF_ERROR(CheckRowsNear(scale, LongestNear(score, window)));
  if (!scale.has_subspace()) return absl::OkStatus();
  if (ByFeature(score)) return absl::InvalidArgumentError("hindsight: subspace: expected none of WINDOW_SCALES");
  const absl::Status status = CheckSubspaceScale(scale.subspace(), features * window);
  return status.ok() ? status : absl::InvalidArgumentError(absl::StrCat("hindsight: ", status.message()));
}

CoveredRows::CoveredRows(const Detector& detector, size_t first_place, std::shared_ptr<const NormalSubspace> subspace)
    : formula_(detector.formula()),
      subspace_(std::move(subspace)),
      by_feature_(ByFeature(detector.model().score_scale)),
      window_(detector.window()),
      features_(detector.features()),
      means_(by_feature_ ? features_ : 1),
      first_place_(first_place),
      sums_(window_ * means_),
      counts_(window_ * means_),
      row_(means_) {}

void CoveredRows::Add(const RebuiltVectors& windows, std::span<const float> errors, const Visit& visit) {
  NormalSubspace::Scratch scratch;  // not a member: there may be many entities
  for (size_t i = 0; i < windows.count; ++i) {
    AddWindow(windows, i, errors[i], &scratch);
    VisitRow(windows_++, visit);
  }
}

void CoveredRows::AddWindow(const RebuiltVectors& windows, size_t i, float error, NormalSubspace::Scratch* scratch) {
  if (!by_feature_) {
    if (std::isnan(error)) return;
    const size_t middle = Slot(windows_ + window_ / 2);
    sums_[middle] = ErrorOfWindow(windows, i, error, scratch);
    counts_[middle] = 1;
    return;
  }
  const float* const observed = windows.observed_of(i);
  for (size_t row = windows_ == 0 ? 0 : first_place_; row < window_; ++row) {
    const size_t from = row * features_, slot = Slot(windows_ + row) * features_;
    const float* const input = windows.input + i * windows.width + from;
    const float* const output = windows.output + i * windows.outputs + from;
    const double* const weight = formula_->inverse_variance().data() + from;
    double* const sum = sums_.data() + slot;
    double* const count = counts_.data() + slot;
    for (size_t f = 0; f < features_; ++f) {
      const double residual = static_cast<double>(output[f]) - input[f];
      const bool there = observed == nullptr || observed[from + f] != 0;
      sum[f] += there ? residual * residual * weight[f] : 0;
      count[f] += there ? 1 : 0;
    }
  }
}

double CoveredRows::ErrorOfWindow(const RebuiltVectors& windows, size_t i, float error,
                                  NormalSubspace::Scratch* scratch) const {
  if (subspace_ == nullptr) return error;
  const float* const window = windows.input + i * windows.width;
  return std::sqrt(error * subspace_->SquaredDistance(window, windows.observed_of(i), scratch));
}

void CoveredRows::VisitRow(size_t row, const Visit& visit) {
  const size_t slot = Slot(row);
  const auto sums = std::span(sums_).subspan(slot * means_, means_);
  const auto counts = std::span(counts_).subspan(slot * means_, means_);
  for (size_t m = 0; m < means_; ++m) {
    row_[m] = counts[m] > 0 ? sums[m] / counts[m] : kNaN;
    if (counts[m] > 0 && std::isnan(row_[m])) row_[m] = std::numeric_limits<double>::infinity();  // an output was none
  }
  visit(row_);
  // The place is the next row's.
  std::ranges::fill(sums, 0);
  std::ranges::fill(counts, 0);
}

void CoveredRows::Finish(const Visit& visit) {
  if (windows_ == 0) return;
  for (size_t row = windows_; row < windows_ + window_ - 1; ++row) VisitRow(row, visit);
  windows_ = 0;
}

Hindsight::Hindsight(const Detector& detector, const v1::HindsightScale& scale)
    : Hindsight(detector, scale,
                scale.has_subspace() ? std::make_shared<const NormalSubspace>(scale.subspace()) : nullptr) {}

Hindsight::Hindsight(const Detector& detector, const v1::HindsightScale& scale,
                     std::shared_ptr<const NormalSubspace> subspace)
    : covered_(detector, scale.first_place(), std::move(subspace)),
      rows_near_(LengthsOf(detector, scale)),
      window_(detector.window()),
      behind_(rows_near_.back() / 2),
      ahead_(rows_near_.back() - 1 - behind_),
      means_((behind_ + 1 + ahead_) * covered_.means()) {
  for (const double variance : scale.variance()) inverse_variance_.push_back(1 / variance);
}

void Hindsight::Add(const RebuiltVectors& windows, std::span<const float> errors, std::vector<float>* settled) {
  covered_.Add(windows, errors, [&](std::span<const double> means) { AddRow(means, settled); });
}

void Hindsight::Finish(std::vector<float>* settled) {
  covered_.Finish([&](std::span<const double> means) { AddRow(means, settled); });
  while (settled_ < rows_) settled->push_back(ErrorOf(settled_++));
  rows_ = settled_ = 0;
}

void Hindsight::AddRow(std::span<const double> means, std::vector<float>* settled) {
  std::ranges::copy(means, MeansOf(rows_++).begin());
  if (rows_ > ahead_) settled->push_back(ErrorOf(settled_++));
}

void Hindsight::AddMeans(size_t begin, size_t end) {
  for (size_t row = begin; row < end; ++row) {
    const std::span<const double> means = MeansOf(row);
    for (size_t m = 0; m < means.size(); ++m) {
      if (std::isnan(means[m])) continue;
      sum_[m] += means[m];
      count_[m] += 1;
    }
  }
}

float Hindsight::ErrorOf(size_t row) {
  const size_t width = covered_.means();
  sum_.assign(width, 0);
  count_.assign(width, 0);
  // Each length takes in the one before. What the shortest knows nothing of (0 / 0) stays NaN.
  largest_.resize(width);
  size_t begin = row, end = row;
  for (const size_t rows : rows_near_) {
    const size_t behind = rows / 2, ahead = rows - 1 - behind;
    const size_t from = row - std::min(row, behind), to = std::min(rows_, row + ahead + 1);
    AddMeans(from, begin);
    AddMeans(end, to);
    begin = from;
    end = to;
    for (size_t m = 0; m < width; ++m) {
      const double mean = sum_[m] / count_[m];
      if (largest_[m] < mean || rows == rows_near_.front()) largest_[m] = mean;
    }
  }
  double error = 0, known = 0;
  for (size_t m = 0; m < width; ++m) {
    if (std::isnan(largest_[m])) continue;
    error += inverse_variance_.empty() ? largest_[m] : std::sqrt(largest_[m] * inverse_variance_[m]);
    known += 1;
  }
  if (known == 0) return kNaN;
  error /= known;
  // Of no number, too, the largest.
  constexpr double kLargest = std::numeric_limits<float>::max();
  return static_cast<float>(error < kLargest ? error : kLargest);
}

absl::StatusOr<std::vector<float>> HindsightErrors(const Detector& detector, const v1::HindsightScale& scale,
                                                   std::span<const float> rows) {
  Hindsight hindsight(detector, scale);
  std::vector<float> settled;
  RETURN_IF_ERROR(detector.VisitJudged(rows, 1, [&](const RebuiltVectors& windows, std::span<const float> errors) {
    hindsight.Add(windows, errors, &settled);
    return absl::OkStatus();
  }));
  hindsight.Finish(&settled);
  return settled;
}

}  // namespace astray
