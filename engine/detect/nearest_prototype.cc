#include "engine/detect/nearest_prototype.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <span>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/detect/check_numbers.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/detect/nearest_prototype.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// clang-format off
#include "hwy/highway.h"
#include "engine/detect/eight_sums-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace astray {
namespace HWY_NAMESPACE {

using Floats = hn::CappedTag<float, kScoresTogether>;

// `count` is a multiple of kTriangleColumns. What is too large for a float becomes infinite.
void ToFloatsWithVectors(const double* from, size_t count, float* to) {
  const hn::Rebind<float, Doubles> floats;
  for (size_t i = 0; i < count; i += kSumLanes) {
    hn::StoreU(hn::DemoteTo(floats, LoadDoubles(from + i)), floats, to + i);
  }
}

void SquaredLengthsWithVectors(const float* points, size_t stride, std::span<double> lengths) {
  for (double& length : lengths) {
    length = Dot(points, points, stride);
    points += stride;
  }
}

struct Candidates {
  float least;  // score of what may be the nearest
  size_t only;  // where it is; the number of scores where several are, or it is not known
};

// Of `count` scores, a multiple of kScoresTogether, of which each may be wrong by half of `error`. In one pass, which
// keeps the two highest of each lane.
HWY_INLINE Candidates FindCandidates(const float* scores, size_t count, double error) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  const Floats floats;
  auto highest = hn::Set(floats, kNone), second = highest, group = hn::Zero(floats);
  for (size_t k = 0; k < count; k += hn::Lanes(floats)) {
    const auto score = hn::LoadU(floats, scores + k);
    group = hn::IfThenElse(hn::Gt(score, highest), hn::Set(floats, static_cast<float>(k)), group);
    second = hn::Max(second, hn::Min(highest, score));
    highest = hn::Max(highest, score);
  }
  const float top = hn::GetLane(hn::MaxOfLanes(floats, highest));
  // Below this error no score of a float overflowed.
  if (!std::isfinite(top) || !(error < 0x1p100)) return {.least = kNone, .only = count};
  const auto least = static_cast<float>(top - error);
  const auto bound = hn::Set(floats, least);
  const auto near = hn::Ge(highest, bound);
  if (!hn::AllFalse(floats, hn::Ge(second, bound)) || hn::CountTrue(floats, near) != 1) {
    return {.least = least, .only = count};
  }
  const float first = hn::GetLane(hn::SumOfLanes(floats, hn::IfThenElseZero(near, group)));
  return {.least = least, .only = static_cast<size_t>(first) + static_cast<size_t>(hn::FindFirstTrue(floats, near))};
}

// distances [rows] of y [rows x stride], whose scores are [rows x points, rounded up].
void DistancesWithVectors(const NearestPrototype::Points& points, size_t rows, const double* y, const float* scores,
                          double* distances) {
  // What rounding to floats can do to two scores: y, |q|² / 2 and what is returned are rounded once, and so is each of
  // 2 n operations (Higham 2002, "Accuracy and stability of numerical algorithms", section 3.1); |y q| ≤ |y| |q|. And
  // what underflow can do.
  const double rounding = 1.01 * static_cast<double>(points.features + 2) * 0x1p-22, underflow = 0x1p-120;
  for (size_t row = 0; row < rows; ++row, y += points.stride, scores += points.scores) {
    // |y - q|² = |y|² - 2 y q + |q|²
    const double length = Dot(y, y, points.stride);
    const auto without_length = [&](size_t k) HWY_ATTR {
      return points.lengths[k] - 2 * Dot(y, points.values.data() + k * points.stride, points.stride);
    };
    const double error = rounding * (points.longest / 2 + std::sqrt(length * points.longest)) + underflow;
    const Candidates candidates = FindCandidates(scores, points.scores, error);
    double nearest = std::numeric_limits<double>::infinity();
    if (candidates.only < points.lengths.size()) {
      nearest = without_length(candidates.only);
    } else {
      for (size_t k = 0; k < points.lengths.size(); ++k) {
        if (!(scores[k] < candidates.least)) nearest = std::min(nearest, without_length(k));
      }
    }
    nearest += length;
    // Rounding can take the distance of a point from itself to the last bit below 0; of no number, it stays none.
    distances[row] = nearest < 0 ? 0 : nearest * points.inverse_unit;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace astray
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace astray {

HWY_EXPORT(ToFloatsWithVectors);
HWY_EXPORT(SquaredLengthsWithVectors);
HWY_EXPORT(DistancesWithVectors);

namespace {

size_t RoundUp(size_t size, size_t multiple) { return (size + multiple - 1) / multiple * multiple; }

NearestPrototype::Points PointsOf(const v1::PrototypeScale& scale, size_t features) {
  const size_t count = static_cast<size_t>(scale.point_size()) / features;
  NearestPrototype::Points points = {.features = features,
                                     .stride = RoundUp(features, kTriangleColumns),
                                     .scores = RoundUp(count, kScoresTogether),
                                     .values = {},
                                     .lengths = std::vector<double>(count),
                                     .inverse_unit = std::min(1 / scale.unit(), std::numeric_limits<double>::max())};
  points.values.resize(count * points.stride);
  for (size_t k = 0; k < count; ++k) {
    std::copy_n(scale.point().begin() + static_cast<std::ptrdiff_t>(k * features), features,
                points.values.begin() + static_cast<std::ptrdiff_t>(k * points.stride));
  }
  HWY_DYNAMIC_DISPATCH(SquaredLengthsWithVectors)(points.values.data(), points.stride, points.lengths);
  points.longest = std::ranges::max(points.lengths);
  return points;
}

// Whose outputs for y are y q - |q|² / 2 of each point q, the higher the nearer, and of those that fill it up nothing.
DenseLayer ScoresOf(const v1::PrototypeScale& scale, const NearestPrototype::Points& points) {
  std::vector<float> weights(scale.point().begin(), scale.point().end());
  weights.resize(points.scores * points.features);
  std::vector<float> bias(points.scores, -std::numeric_limits<float>::infinity());
  std::ranges::transform(points.lengths, bias.begin(), [](double length) { return static_cast<float>(-length / 2); });
  return DenseLayer(points.features, weights, bias);
}

absl::Status Refuse(absl::string_view field, absl::string_view expected, const auto& got) {
  return absl::InvalidArgumentError(absl::StrCat("score: prototypes: ", field, ": expected ", expected, ", got ", got));
}

}  // namespace

absl::Status CheckPrototypes(const v1::PrototypeScale& scale, size_t features) {
  const size_t metric = features <= kMaxPairedFeatures ? features * (features + 1) / 2 : features;
  RETURN_IF_ERROR(CheckNumbers("score: prototypes: metric", scale.metric(), metric, /*positive=*/false));
  const auto values = static_cast<size_t>(scale.point_size());
  const size_t most = std::min(kMaxPrototypes * features, kMaxPrototypeValues);
  if (values == 0 || values % features != 0 || values > most) {
    return Refuse("point", absl::StrCat("1 to ", most, " values, a multiple of ", features), values);
  }
  RETURN_IF_ERROR(CheckNumbers("score: prototypes: point", scale.point(), values, /*positive=*/false));
  if (std::isfinite(scale.unit()) && scale.unit() > 0) return absl::OkStatus();
  return Refuse("unit", "a finite number above 0", scale.unit());
}

NearestPrototype::NearestPrototype(const v1::PrototypeScale& scale, size_t features)
    : paired_(features <= kMaxPairedFeatures), points_(PointsOf(scale, features)), scores_(ScoresOf(scale, points_)) {
  if (!paired_) {
    metric_.assign(scale.metric().begin(), scale.metric().end());
    return;
  }
  metric_.assign(points_.stride * features, 0);
  for (size_t a = 0, at = 0; a < features; ++a) {
    for (size_t b = 0; b <= a; ++b, ++at) {
      metric_[(b / kTriangleColumns * features + a) * kTriangleColumns + b % kTriangleColumns] =
          scale.metric(static_cast<int>(at));
    }
  }
}

void NearestPrototype::SquaredDistances(const RebuiltVectors& vectors, size_t first, size_t count, Scratch* scratch,
                                        double* distances) const {
  scratch->measured.resize(kMostRows * points_.stride);
  scratch->floats.resize(kMostRows * points_.stride);
  scratch->scores.resize(kMostRows * points_.scores);
  double* const measured = scratch->measured.data();
  for (size_t done = 0; done < count; done += kRowsTogether) {
    const size_t rows = std::min(kRowsTogether, count - done);
    Measure(vectors, first + done, rows, scratch, measured + done * points_.stride);
  }
  HWY_DYNAMIC_DISPATCH(ToFloatsWithVectors)(measured, count * points_.stride, scratch->floats.data());
  scores_.Run(count, scratch->floats.data(), points_.stride, scratch->scores.data(), points_.scores);
  HWY_DYNAMIC_DISPATCH(DistancesWithVectors)(points_, count, measured, scratch->scores.data(), distances);
}

void NearestPrototype::Measure(const RebuiltVectors& vectors, size_t first, size_t count, Scratch* scratch,
                               double* measured) const {
  scratch->rows.resize(kRowsTogether * points_.stride);
  for (size_t i = 0; i < count; ++i) {
    const float *input = vectors.input + (first + i) * vectors.width,
                *output = vectors.output + (first + i) * vectors.outputs, *observed = vectors.observed_of(first + i);
    double* const row = scratch->rows.data() + i * points_.stride;
    std::copy_n(input, points_.features, row);
    for (size_t f = 0; observed != nullptr && f < points_.features; ++f) {
      if (observed[f] == 0) row[f] = output[f];
    }
    if (!paired_)
      std::transform(row, row + points_.features, metric_.begin(), measured + i * points_.stride, std::multiplies<>());
  }
  if (paired_)
    MultiplyByTriangle(scratch->rows.data(), count, points_.stride, points_.features, metric_.data(), measured);
}

}  // namespace astray
#endif  // HWY_ONCE
