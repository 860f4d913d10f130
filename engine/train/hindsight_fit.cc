#include "engine/train/hindsight_fit.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/detect/hindsight.h"
#include "engine/detect/score_scale.h"
#include "engine/train/subspace_fit.h"

namespace astray {
namespace {

constexpr size_t kMaxRows = 16'384;

// Of each stretch its first rows, the same share.
std::vector<Stretch> Limited(const std::vector<Stretch>& stretches, size_t features, size_t limit) {
  size_t all = 0;
  for (const Stretch& stretch : stretches) all += stretch.rows.size() / features;
  const double share = std::min(1.0, static_cast<double>(limit) / static_cast<double>(std::max<size_t>(all, 1)));
  std::vector<Stretch> limited;
  for (const Stretch& stretch : stretches) {
    const size_t all_rows = stretch.rows.size() / features;
    const auto rows = static_cast<size_t>(share * static_cast<double>(all_rows));
    limited.push_back({.rows = stretch.rows.first(rows * features), .first = stretch.first});
  }
  return limited;
}

// Of each feature the mean of what CoveredRows says of the rows; NaN where that is nothing.
absl::StatusOr<std::vector<double>> MeanOfRows(const Detector& detector, size_t first_place,
                                               const std::vector<Stretch>& stretches) {
  std::vector<double> sums(detector.features()), counts(detector.features());
  CoveredRows covered(detector, first_place);
  const auto add = [&](std::span<const double> means) {
    for (size_t f = 0; f < means.size(); ++f) {
      if (std::isnan(means[f])) continue;
      sums[f] += means[f];
      counts[f] += 1;
    }
  };
  for (const Stretch& stretch : stretches) {
    RETURN_IF_ERROR(detector.VisitJudged(stretch.rows, 1, [&](const RebuiltVectors& judged, std::span<const float> e) {
      covered.Add(judged, e, add);
      return absl::OkStatus();
    }));
    covered.Finish(add);
  }
  for (size_t f = 0; f < sums.size(); ++f) sums[f] /= counts[f];
  return sums;
}

// Calls visit(place, error) for each row that has an error.
absl::Status VisitHindsight(const Detector& detector, const v1::HindsightScale& scale,
                            const std::vector<Stretch>& stretches,
                            const std::function<absl::Status(size_t place, float error)>& visit) {
  for (const Stretch& stretch : stretches) {
    ASSIGN_OR_RETURN(const std::vector<float> errors, HindsightErrors(detector, scale, stretch.rows));
    for (size_t i = 0; i < errors.size(); ++i) {
      if (!std::isnan(errors[i])) RETURN_IF_ERROR(visit(stretch.first + i, errors[i]));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::HindsightScale> FitScale(const Detector& detector, const std::vector<Stretch>& held_out,
                                            const std::vector<Stretch>& training) {
  const v1::ScoreKind kind = detector.model().score_scale.kind();
  v1::HindsightScale scale;
  for (const uint32_t rows : RowsNear(kind, detector.window())) scale.add_rows_near(rows);
  if (kind != v1::WINDOW_SCALES) {
    ASSIGN_OR_RETURN(std::optional<v1::SubspaceScale> subspace,
                     FitSubspace(detector.model().pipeline, held_out, training));
    if (subspace) *scale.mutable_subspace() = *std::move(subspace);
    return scale;
  }
  scale.set_first_place(static_cast<uint32_t>(detector.window() / 2));
  ASSIGN_OR_RETURN(const std::vector<double> unseen, MeanOfRows(detector, scale.first_place(), held_out));
  ASSIGN_OR_RETURN(const std::vector<double> seen, MeanOfRows(detector, scale.first_place(), training));
  for (size_t f = 0; f < unseen.size(); ++f) {
    const double variance = std::fmax(unseen[f], seen[f]);  // the other one where one is NaN
    scale.add_variance(static_cast<float>(
        std::isnan(variance) ? 1 : std::clamp<double>(variance, kVarianceFloor, std::numeric_limits<float>::max())));
  }
  return scale;
}

}  // namespace

absl::StatusOr<std::optional<HindsightModel>> FitHindsight(const Detector& detector,
                                                           const std::vector<Stretch>& held_out,
                                                           const std::vector<Stretch>& training,
                                                           const SegmentOf& segment_of, double false_positive_rate) {
  if (detector.window() < 2) return std::nullopt;
  const std::vector<Stretch> unseen = Limited(held_out, detector.features(), kMaxRows);
  const std::vector<Stretch> seen = Limited(training, detector.features(), kMaxRows);
  ASSIGN_OR_RETURN(v1::HindsightScale scale, FitScale(detector, unseen, seen));
  CalibrationSamples samples;
  RETURN_IF_ERROR(VisitHindsight(detector, scale, unseen, [&](size_t place, float error) {
    return samples.Add(error, segment_of(place), /*missing_level=*/0);
  }));
  if (samples.all.samples() == 0) return std::nullopt;
  const double finest = 1.0 / (static_cast<double>(samples.all.samples()) + 1);
  ASSIGN_OR_RETURN(Calibration calibration,
                   Calibration::Create(std::move(samples), std::max(false_positive_rate, finest), {}));
  return HindsightModel{.scale = std::move(scale), .calibration = std::move(calibration)};
}

}  // namespace astray
