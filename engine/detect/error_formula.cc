#include "engine/detect/error_formula.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/detect/score_kind.h"
#include "engine/nn/loss.h"

namespace astray {
namespace {

constexpr double kLargest = std::numeric_limits<float>::max();
constexpr double kAtPrototype = 0.1;  // score_kind.h
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Keeps sums and shares comparable where a network's output overflowed.
double Hold(double value) { return value < kLargest ? value : kLargest; }  // of no number, the largest

// False where it is not known, too.
bool AllObserved(const RebuiltVectors& vectors) {
  if (vectors.missing == nullptr) return false;
  uint32_t any = 0;  // the compiler makes vector code
  for (size_t i = 0; i < vectors.count; ++i) any |= vectors.missing[i];
  return any == 0;
}

void AddPart(double part, float* sum) { *sum = static_cast<float>(Hold(*sum + part)); }

}  // namespace

ErrorFormula::ErrorFormula(const v1::ScoreScale& scale)
    : kind_(scale.kind()),
      loss_(scale.loss()),
      features_(scale.level_variance().empty() ? scale.features() : static_cast<size_t>(scale.level_variance_size())),
      recent_rows_(scale.recent_rows()) {
  for (const double variance : scale.residual_variance()) inverse_variance_.push_back(1 / variance);
  for (const double variance : scale.level_variance()) {
    inverse_level_variance_.push_back(1 / (kind_ == v1::MAHALANOBIS ? std::sqrt(variance) : variance));
  }
  if (kind_ == v1::MAHALANOBIS) distance_.emplace(scale.precision(), features_);
  if (scale.has_prototypes()) prototypes_.emplace(scale.prototypes(), scale.features());
  if (!scale.has_t_squared()) return;
  const v1::TSquaredScale& t_squared = scale.t_squared();
  t_squared_.emplace(TSquared{.rows = t_squared.rows(),
                              .mean = {t_squared.mean().begin(), t_squared.mean().end()},
                              .inverse_deviation = {},
                              .distance = MahalanobisDistance(t_squared.precision(), scale.features()),
                              .limit = t_squared.limit(),
                              .factor = t_squared.factor()});
  for (const double deviation : t_squared.deviation()) t_squared_->inverse_deviation.push_back(1 / deviation);
}

void ErrorFormula::Errors(const RebuiltVectors& vectors, Scratch* scratch, std::span<float> errors) const {
  ResidualErrors(vectors, scratch, errors);
  if (prototypes_) AddDistances(vectors, scratch, errors);
  if (!t_squared_) return;
  for (size_t i = 0; i < vectors.count; ++i) {
    // A residual's error that is no number stays none.
    if (const float error = TSquaredError(vectors, i, scratch); error > errors[i]) errors[i] = error;
  }
}

void ErrorFormula::AddDistances(const RebuiltVectors& vectors, Scratch* scratch, std::span<float> errors) const {
  constexpr size_t kMostRows = NearestPrototype::kMostRows;
  std::array<double, kMostRows> distances;
  for (size_t first = 0; first < vectors.count; first += kMostRows) {
    const size_t count = std::min(kMostRows, vectors.count - first);
    prototypes_->SquaredDistances(vectors, first, count, &scratch->nearest, distances.data());
    for (size_t i = 0; i < count; ++i) {
      float& error = errors[first + i];
      if (error > 0) error = static_cast<float>(Hold(std::sqrt(error * (distances[i] + kAtPrototype))));
    }
  }
}

void ErrorFormula::ResidualErrors(const RebuiltVectors& vectors, Scratch* scratch, std::span<float> errors) const {
  if (kind_ != v1::MEAN_SQUARED && kind_ != v1::FEATURE_NORMALISED) {
    for (size_t i = 0; i < vectors.count; ++i) errors[i] = ErrorOf(vectors, i, scratch);
    return;
  }
  const size_t begin = recent_rows_ == 0 ? 0 : vectors.width - recent_rows_ * features_;
  scratch->sums.resize(vectors.count);
  SumSquares(vectors, begin, kind_ == v1::MEAN_SQUARED ? nullptr : inverse_variance_.data(), scratch->sums.data());
  // What most vectors get, without a branch; then those with missing values.
  const auto all = static_cast<double>(vectors.width - begin);
  for (size_t i = 0; i < vectors.count; ++i) errors[i] = static_cast<float>(Hold(scratch->sums[i] / all));
  if (AllObserved(vectors)) return;
  for (size_t i = 0; i < vectors.count; ++i) {
    if (vectors.observed_of(i) == nullptr) continue;
    const double count = CountObserved(vectors, i);
    errors[i] = count == 0 ? kNaN : static_cast<float>(Hold(scratch->sums[i] / count));
  }
}

ErrorFormula::Explanation ErrorFormula::Explain(const RebuiltVectors& vector, Scratch* scratch,
                                                std::span<float> feature_error) const {
  float error = kNaN;
  ResidualErrors(vector, scratch, std::span(&error, 1));
  if (std::isnan(error)) return {.error = error};
  const size_t features = feature_error.size();
  double of_residual = 1;  // what a part of the residual's error is of the whole one's
  if (prototypes_ && error > 0) {
    const double residual = error;
    AddDistances(vector, scratch, std::span(&error, 1));
    of_residual = error / residual;
  }
  const auto scale_terms = [&](std::span<const double> terms, double factor) {
    for (size_t f = 0; f < features; ++f) AddPart(terms[f] * factor, &feature_error[f]);
  };
  const auto share_out = [&](const std::vector<double>& of_features, float whole) {
    const std::span<const double> terms(of_features.data(), features);
    const double sum = std::accumulate(terms.begin(), terms.end(), 0.0);
    if (sum > 0) scale_terms(terms, whole / sum);
  };
  if (t_squared_) {
    if (const float by_t_squared = TSquaredError(vector, 0, scratch); by_t_squared > error) {
      share_out(scratch->t_squared_term, by_t_squared);
      return {.error = by_t_squared, .by_t_squared = true};
    }
  }
  switch (kind_) {
    case v1::TRAINING_LOSS: {
      const double count = CountObserved(vector, 0);
      const size_t begin = recent_rows_ == 0 ? 0 : vector.width - recent_rows_ * features;
      for (size_t j = begin; j < vector.width; ++j) {
        AddPart(LossAtPosition(vector, 0, j) / count * of_residual, &feature_error[j % features]);
      }
      break;
    }
    case v1::MAHALANOBIS:
    case v1::WINDOW_NORMALISED:
    case v1::WINDOW_SCALES:
    case v1::WORST_FEATURE:
      share_out(scratch->term, error);
      break;
    default: {
      const size_t rows = recent_rows_ == 0 ? vector.width / features : recent_rows_;
      const size_t begin = vector.width - rows * features;
      for (auto* sums : {&scratch->residual, &scratch->square, &scratch->count}) sums->assign(features, 0);
      const float* observed = vector.observed_of(0);
      SumByFeature(vector.input + begin, vector.output + begin, observed == nullptr ? nullptr : observed + begin,
                   kind_ == v1::MEAN_SQUARED ? nullptr : inverse_variance_.data() + begin, features, rows,
                   scratch->residual.data(), scratch->square.data(), scratch->count.data());
      scale_terms(scratch->square, of_residual / CountObserved(vector, 0));
    }
  }
  return {.error = error};
}

float ErrorFormula::ErrorOf(const RebuiltVectors& vectors, size_t i, Scratch* scratch) const {
  switch (kind_) {
    case v1::MAHALANOBIS:
      return Mahalanobis(vectors, i, scratch);
    case v1::TRAINING_LOSS:
      return ErrorByLoss(vectors, i);
    default:
      return ErrorByFeature(vectors, i, scratch);
  }
}

double ErrorFormula::CountObserved(const RebuiltVectors& vectors, size_t i) const {
  const size_t begin = recent_rows_ == 0 ? 0 : vectors.width - recent_rows_ * features_;
  const float* observed = vectors.observed_of(i);
  if (observed == nullptr) return static_cast<double>(vectors.width - begin);
  if (begin == 0 && vectors.missing != nullptr) return static_cast<double>(vectors.width - vectors.missing[i]);
  return std::accumulate(observed + begin, observed + vectors.width, 0.0);
}

void ErrorFormula::AddRows(const RebuiltVectors& vectors, size_t i, size_t skip, size_t rows, Scratch* scratch) const {
  const size_t begin = vectors.width - rows * features_;
  const float* observed = vectors.observed_of(i);
  SumByFeature(vectors.input + i * vectors.width + begin, vectors.output + i * vectors.outputs + begin,
               observed == nullptr ? nullptr : observed + begin,
               inverse_variance_.empty() ? nullptr : inverse_variance_.data() + begin, features_, rows - skip,
               scratch->residual.data(), scratch->square.data(), scratch->count.data());
}

double ErrorFormula::LossAtPosition(const RebuiltVectors& vectors, size_t i, size_t j) const {
  const float* observed = vectors.observed_of(i);
  if (observed != nullptr && observed[j] == 0) return 0;
  const std::span<const float> output(vectors.output + i * vectors.outputs, vectors.outputs);
  return std::max(0.0, LossAt(loss_, output, j, vectors.input[i * vectors.width + j]));
}

float ErrorFormula::ErrorByLoss(const RebuiltVectors& vectors, size_t i) const {
  const double count = CountObserved(vectors, i);
  if (count == 0) return kNaN;
  double sum = 0;
  for (size_t j = recent_rows_ == 0 ? 0 : vectors.width - recent_rows_ * features_; j < vectors.width; ++j) {
    sum += LossAtPosition(vectors, i, j);
  }
  return static_cast<float>(Hold(sum / count));
}

float ErrorFormula::ErrorByFeature(const RebuiltVectors& vectors, size_t i, Scratch* scratch) const {
  auto& [sums, residual, square, count, term, t_squared_term, nearest] = *scratch;
  for (auto* values : {&residual, &square, &count, &term}) values->assign(features_, 0);
  const size_t rows = recent_rows_ == 0 ? vectors.width / features_ : recent_rows_;
  size_t added = 0;
  if (kind_ == v1::WINDOW_SCALES) {
    for (const size_t newest : {size_t{1}, NewestQuarter(rows)}) {
      if (newest == added) continue;
      AddRows(vectors, i, added, newest, scratch);
      added = newest;
      for (size_t f = 0; f < features_; ++f) {
        if (count[f] > 0) term[f] = std::max(term[f], square[f] / count[f]);
      }
    }
  }
  AddRows(vectors, i, added, rows, scratch);
  double sum = 0, there = 0, worst = 0;
  for (size_t f = 0; f < features_; ++f) {
    if (count[f] == 0) continue;
    // The whole window's first: it is no number where any of them is none, and then the largest is none.
    term[f] = std::max(square[f] / count[f], term[f]);
    if (kind_ != v1::WORST_FEATURE) {
      const double level = residual[f] / count[f];
      term[f] = std::max(term[f], level * level * inverse_level_variance_[f]);
    }
    term[f] = Hold(term[f]);
    there += 1;
    sum += term[f];
    worst = std::max(worst, term[f]);
  }
  if (there == 0) return kNaN;
  return static_cast<float>(Hold(kind_ == v1::WORST_FEATURE ? worst : sum / there));
}

float ErrorFormula::Mahalanobis(const RebuiltVectors& vectors, size_t i, Scratch* scratch) const {
  std::vector<double>&residual = scratch->residual, &square = scratch->square, &count = scratch->count;
  for (auto* values : {&residual, &square, &count}) values->assign(features_, 0);
  AddRows(vectors, i, 0, recent_rows_ == 0 ? vectors.width / features_ : recent_rows_, scratch);
  if (std::ranges::count(count, 0.0) == static_cast<std::ptrdiff_t>(features_)) return kNaN;
  for (size_t f = 0; f < features_; ++f) {
    if (count[f] > 0) residual[f] *= inverse_level_variance_[f] / count[f];
  }
  return static_cast<float>(Hold(distance_->Of(count, residual, &scratch->term)));
}

float ErrorFormula::TSquaredError(const RebuiltVectors& vectors, size_t i, Scratch* scratch) const {
  std::vector<double>&mean = scratch->residual, &count = scratch->count;
  const size_t features = t_squared_->mean.size(), begin = vectors.width - t_squared_->rows * features;
  const float *input = vectors.input + i * vectors.width, *observed = vectors.observed_of(i);
  mean.assign(features, 0);
  count.assign(features, observed == nullptr ? static_cast<double>(t_squared_->rows) : 0);
  for (size_t row = begin; row < vectors.width; row += features) {
    for (size_t f = 0; f < features; ++f) {
      if (observed == nullptr) {
        mean[f] += input[row + f];
      } else if (observed[row + f] != 0) {
        mean[f] += input[row + f];
        count[f] += 1;
      }
    }
  }
  if (std::ranges::count(count, 0.0) == static_cast<std::ptrdiff_t>(features)) return kNaN;
  for (size_t f = 0; f < features; ++f) {
    if (count[f] > 0) mean[f] = (mean[f] / count[f] - t_squared_->mean[f]) * t_squared_->inverse_deviation[f];
  }
  const double t_squared = t_squared_->distance.Of(count, mean, &scratch->t_squared_term);
  if (std::isnan(t_squared)) return kNaN;
  return t_squared <= t_squared_->limit ? 0 : static_cast<float>(Hold(t_squared_->factor * t_squared));
}

}  // namespace astray
