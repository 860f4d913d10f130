#include "engine/detect/nearest_prototype.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/detect/check_numbers.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/detect/nearest_prototype.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace astray {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::CappedTag<float, kScoresTogether>;

// `count` is a multiple of kTriangleColumns. What is too large for a float becomes infinite.
void ToFloatsWithVectors(const double* from, size_t count, float* to) {
  const hn::CappedTag<double, kTriangleColumns> doubles;
  const hn::Rebind<float, decltype(doubles)> floats;
  for (size_t i = 0; i < count; i += hn::Lanes(doubles)) {
    hn::StoreU(hn::DemoteTo(floats, hn::LoadU(doubles, from + i)), floats, to + i);
  }
}

// Of `count` scores, a multiple of kScoresTogether.
float HighestWithVectors(const float* scores, size_t count) {
  const Floats floats;
  auto highest = hn::Set(floats, -std::numeric_limits<float>::infinity());
  for (size_t k = 0; k < count; k += hn::Lanes(floats)) highest = hn::Max(highest, hn::LoadU(floats, scores + k));
  return hn::GetLane(hn::MaxOfLanes(floats, highest));
}

// Where the score is that is at least `least`; `count` where more than one is, or none.
size_t FindOnlyWithVectors(const float* scores, size_t count, float least) {
  const Floats floats;
  const auto bound = hn::Set(floats, least);
  size_t found = 0;
  // A sum, so that there is no branch that could be mispredicted.
  auto places = hn::Zero(floats), place = hn::Iota(floats, 0.0f);
  for (size_t k = 0; k < count; k += hn::Lanes(floats)) {
    const auto here = hn::Ge(hn::LoadU(floats, scores + k), bound);
    found += hn::CountTrue(floats, here);
    places = hn::Add(places, hn::IfThenElseZero(here, place));
    place = hn::Add(place, hn::Set(floats, static_cast<float>(hn::Lanes(floats))));
  }
  return found == 1 ? static_cast<size_t>(hn::GetLane(hn::SumOfLanes(floats, places))) : count;
}

}  // namespace HWY_NAMESPACE
}  // namespace astray
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace astray {

HWY_EXPORT(ToFloatsWithVectors);
HWY_EXPORT(HighestWithVectors);
HWY_EXPORT(FindOnlyWithVectors);

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

size_t RoundUp(size_t size, size_t multiple) { return (size + multiple - 1) / multiple * multiple; }

// sums[r] += a[r] b[r], [size] each, in order: side by side, since a sum alone waits for itself.
template <typename T>
void AddProducts(size_t size, const std::array<const double*, kRowsTogether>& a,
                 const std::array<const T*, kRowsTogether>& b, std::array<double, kRowsTogether>* sums) {
  std::array<double, kRowsTogether> added = *sums;
  for (size_t i = 0; i < size; ++i) {
    for (size_t r = 0; r < kRowsTogether; ++r) added[r] += a[r][i] * b[r][i];
  }
  *sums = added;
}

std::vector<double> LengthsOf(std::span<const float> points, size_t features) {
  std::vector<double> lengths;
  for (size_t at = 0; at < points.size(); at += features) {
    double length = 0;
    for (const double value : points.subspan(at, features)) length += value * value;
    lengths.push_back(length);
  }
  return lengths;
}

// Whose outputs for y are y q - |q|² / 2 of each point q, the higher the nearer, and of those that fill it up nothing.
DenseLayer ScoresOf(std::span<const float> points, std::span<const double> lengths, size_t features) {
  const size_t padded = RoundUp(lengths.size(), kScoresTogether);
  std::vector<float> weights(points.begin(), points.end()), bias(padded, -kInfinity);
  weights.resize(padded * features);
  std::ranges::transform(lengths, bias.begin(), [](double length) { return static_cast<float>(-length / 2); });
  return DenseLayer(features, weights, bias);
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
    : features_(features),
      stride_(RoundUp(features, kTriangleColumns)),
      paired_(features <= kMaxPairedFeatures),
      points_(scale.point().begin(), scale.point().end()),
      lengths_(LengthsOf(points_, features)),
      longest_(std::ranges::max(lengths_)),
      scores_(ScoresOf(points_, lengths_, features)),
      inverse_unit_(std::min(1 / scale.unit(), std::numeric_limits<double>::max())) {
  if (!paired_) {
    metric_.assign(scale.metric().begin(), scale.metric().end());
    return;
  }
  metric_.assign(stride_ * features, 0);
  for (size_t a = 0, at = 0; a < features; ++a) {
    for (size_t b = 0; b <= a; ++b, ++at) {
      metric_[(b / kTriangleColumns * features + a) * kTriangleColumns + b % kTriangleColumns] =
          scale.metric(static_cast<int>(at));
    }
  }
}

void NearestPrototype::SquaredDistances(const RebuiltVectors& vectors, size_t first, size_t count, Scratch* scratch,
                                        double* distances) const {
  scratch->measured.resize(kMostRows * stride_);
  for (size_t done = 0; done < count; done += kRowsTogether) {
    Measure(vectors, first + done, std::min(kRowsTogether, count - done), scratch, &scratch->measured[done * stride_]);
  }
  const size_t padded = RoundUp(lengths_.size(), kScoresTogether);
  scratch->floats.resize(kMostRows * stride_);
  scratch->scores.resize(kMostRows * padded);
  HWY_DYNAMIC_DISPATCH(ToFloatsWithVectors)(scratch->measured.data(), count * stride_, scratch->floats.data());
  scores_.Run(count, scratch->floats.data(), stride_, scratch->scores.data(), padded);
  for (size_t done = 0; done < count; done += kRowsTogether) {
    const size_t rows = std::min(kRowsTogether, count - done);
    const Sums squares = Distances(rows, &scratch->measured[done * stride_], &scratch->scores[done * padded]);
    // Rounding can take the distance of a point from itself to the last bit below 0; of no number, it stays none.
    for (size_t row = 0; row < rows; ++row) {
      distances[done + row] = squares[row] < 0 ? 0 : squares[row] * inverse_unit_;
    }
  }
}

NearestPrototype::Sums NearestPrototype::Distances(size_t rows, const double* y, const float* scores) const {
  const size_t points = lengths_.size(), padded = RoundUp(points, kScoresTogether);
  Sums lengths = {}, products = {}, nearest = {};
  static_assert(kRowsTogether == 4);
  const std::array<const double*, kRowsTogether> rows_of_y = {y, y + stride_, y + 2 * stride_, y + 3 * stride_};
  AddProducts(features_, rows_of_y, rows_of_y, &lengths);
  std::array<float, kRowsTogether> least = {};
  std::array<size_t, kRowsTogether> only = {};
  std::array<const float*, kRowsTogether> q;
  q.fill(points_.data());
  for (size_t row = 0; row < rows; ++row) {
    least[row] = Least(scores + row * padded, lengths[row]);
    only[row] = HWY_DYNAMIC_DISPATCH(FindOnlyWithVectors)(scores + row * padded, padded, least[row]);
    if (only[row] < points) q[row] = &points_[only[row] * features_];
  }
  AddProducts(features_, rows_of_y, q, &products);
  for (size_t row = 0; row < rows; ++row) {
    // |y - q|² = |y|² - 2 y q + |q|²
    nearest[row] = only[row] < points ? lengths_[only[row]] - 2 * products[row]
                                      : Nearest(y + row * stride_, scores + row * padded, least[row]);
  }
  AddProducts(features_, rows_of_y, rows_of_y, &nearest);
  return nearest;
}

float NearestPrototype::Least(const float* scores, double length) const {
  // What rounding to floats can do to two scores: y, |q|² / 2 and what is returned are rounded once, and so is each of
  // 2 n operations (Higham 2002, "Accuracy and stability of numerical algorithms", section 3.1); |y q| ≤ |y| |q|. And
  // what underflow can do.
  const double rounding = 1.01 * static_cast<double>(features_ + 2) * 0x1p-22, underflow = 0x1p-120;
  const double error = rounding * (longest_ / 2 + std::sqrt(length * longest_)) + underflow;
  const float highest = HWY_DYNAMIC_DISPATCH(HighestWithVectors)(scores, RoundUp(lengths_.size(), kScoresTogether));
  return std::isfinite(highest) && error < 0x1p100 ? static_cast<float>(highest - error) : -kInfinity;
}

double NearestPrototype::Nearest(const double* y, const float* scores, float least) const {
  double nearest = std::numeric_limits<double>::infinity();
  for (size_t k = 0; k < lengths_.size(); ++k) {
    if (scores[k] < least) continue;
    const double product = std::inner_product(y, y + features_, &points_[k * features_], 0.0);
    nearest = std::min(nearest, lengths_[k] - 2 * product);
  }
  return nearest;
}

void NearestPrototype::Measure(const RebuiltVectors& vectors, size_t first, size_t count, Scratch* scratch,
                               double* measured) const {
  scratch->rows.resize(kRowsTogether * stride_);
  for (size_t i = 0; i < count; ++i) {
    const float *input = vectors.input + (first + i) * vectors.width,
                *output = vectors.output + (first + i) * vectors.outputs, *observed = vectors.observed_of(first + i);
    double* const row = scratch->rows.data() + i * stride_;
    std::copy_n(input, features_, row);
    for (size_t f = 0; observed != nullptr && f < features_; ++f) {
      if (observed[f] == 0) row[f] = output[f];
    }
    if (!paired_) std::transform(row, row + features_, metric_.begin(), measured + i * stride_, std::multiplies<>());
  }
  if (paired_) MultiplyByTriangle(scratch->rows.data(), count, stride_, features_, metric_.data(), measured);
}

}  // namespace astray
#endif  // HWY_ONCE
