#include "engine/detect/error_sample.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace astray {

void ErrorSample::Spill() {
  std::sort(errors_.begin(), errors_.end());
  const auto largest = errors_.end() - static_cast<std::ptrdiff_t>(limits_.top);
  for (auto it = errors_.begin(); it != largest; ++it) sketch_.Add(*it);
  errors_.erase(errors_.begin(), largest);
}

void ErrorSample::Add(float error) {
  if (!has_sketch()) {
    errors_.push_back(error);
    if (errors_.size() > limits_.exact) Spill();
    return;
  }
  if (error > errors_.front()) {
    std::pop_heap(errors_.begin(), errors_.end(), std::greater<>());
    std::swap(errors_.back(), error);
    std::push_heap(errors_.begin(), errors_.end(), std::greater<>());
  }
  sketch_.Add(error);
}

void ErrorSample::Merge(const ErrorSample& other) {
  if (other.has_sketch()) {
    // Now a heap of the largest is here, too, and the other's others are all below its own largest.
    if (!has_sketch()) {
      std::vector<float> errors = std::exchange(errors_, other.errors_);
      std::make_heap(errors_.begin(), errors_.end(), std::greater<>());
      sketch_.Merge(other.sketch_);
      for (const float error : errors) Add(error);
      return;
    }
    sketch_.Merge(other.sketch_);
  }
  for (const float error : other.errors_) Add(error);
}

void ErrorSample::Seal() {
  std::sort(errors_.begin(), errors_.end());
  errors_index_ = RankIndex(errors_);
  values_.clear();
  at_least_.clear();
  if (!has_sketch()) return;
  sketch_rank_error_ = sketch_.rank_error();
  uint64_t rest = sketch_.samples();
  for (const auto& [value, weight] : sketch_.Weighted()) {
    if (values_.empty() || value != values_.back()) {
      values_.push_back(value);
      at_least_.push_back(rest);
    }
    rest -= weight;
  }
  values_index_ = RankIndex(values_);
}

double ErrorSample::rank_error() const {
  return has_sketch() ? sketch_.rank_error() / static_cast<double>(samples()) : 0;
}

double ErrorSample::AtLeast(float error) const {
  return AtLeast(error, errors_.size() - errors_index_.CountBelow(errors_, error));
}

double ErrorSample::AtLeast(float error, size_t exact) const {
  if (values_.empty() || error > errors_.front()) return static_cast<double>(exact);
  const size_t place = values_index_.CountBelow(values_, error);
  const uint64_t sketched = place == values_.size() ? 0 : at_least_[place];
  const double most = static_cast<double>(exact) + static_cast<double>(sketched) + sketch_rank_error_;
  return std::min(most, static_cast<double>(samples()));
}

void ErrorSample::PValues(std::span<const float> errors, std::vector<uint32_t>* ranks,
                          std::span<double> p_values) const {
  ranks->resize(errors.size());
  errors_index_.CountBelow(errors_, errors, ranks->data());
  const double all = static_cast<double>(samples()) + 1;
  if (!has_sketch()) {
    const auto kept = static_cast<int32_t>(errors_.size());  // at most Limits::exact; the compiler makes vector code
    for (size_t i = 0; i < errors.size(); ++i) p_values[i] = (1.0 + (kept - static_cast<int32_t>((*ranks)[i]))) / all;
    return;
  }
  for (size_t i = 0; i < errors.size(); ++i) {
    p_values[i] = (1 + AtLeast(errors[i], errors_.size() - (*ranks)[i])) / all;
  }
}

float ErrorSample::Threshold(uint64_t above) const {
  // A rank from the end among the errors that are kept exactly.
  const auto from_end = [&](uint64_t rank) { return errors_[errors_.size() - rank]; };
  if (values_.empty()) return from_end(std::min<uint64_t>(above, errors_.size()));
  if (above <= errors_.size()) return from_end(above);
  // Above value i of the sketch are the largest, and what the values after it stand for.
  const double most = static_cast<double>(above) - 1 - static_cast<double>(errors_.size()) - sketch_.rank_error();
  if (most < 0) return errors_.front();
  const auto first = std::partition_point(at_least_.begin(), at_least_.end(),
                                          [&](uint64_t at_least) { return static_cast<double>(at_least) > most; });
  // at_least_[i + 1] lie above value i.
  const auto place = first - at_least_.begin();
  return values_[static_cast<size_t>(std::max<std::ptrdiff_t>(place - 1, 0))];
}

absl::StatusOr<ErrorSample> ErrorSample::FromState(std::span<const float> errors, const v1::SketchState* sketch,
                                                   const Limits& limits) {
  if (errors.empty()) return absl::InvalidArgumentError("errors: expected 1 or more, got 0");
  for (size_t i = 0; i < errors.size(); ++i) {
    if (!std::isfinite(errors[i]) || errors[i] < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("error ", i, ": expected a finite number of at least 0, got ", errors[i]));
    }
    if (i > 0 && errors[i] < errors[i - 1]) {
      return absl::InvalidArgumentError(
          absl::StrCat("error ", i, ": expected ascending errors, got ", errors[i], " after ", errors[i - 1]));
    }
  }
  ErrorSample sample(limits);
  sample.errors_.assign(errors.begin(), errors.end());
  if (sketch != nullptr) {
    ASSIGN_OR_RETURN(sample.sketch_, QuantileSketch::FromState(*sketch, SketchSize(limits)));
    if (!sample.has_sketch()) return absl::InvalidArgumentError("sketch: expected values, got none");
    // Merge relies on it: the largest of two samples are among the largest of each.
    if (errors.size() != limits.top) {
      return absl::InvalidArgumentError(
          absl::StrCat("errors: expected ", limits.top, " beside a sketch, got ", errors.size()));
    }
  }
  sample.Seal();
  if (!sample.values_.empty() && sample.values_.back() > errors.front()) {
    return absl::InvalidArgumentError(absl::StrCat("sketch: expected values of at most the smallest of the errors, ",
                                                   errors.front(), ", got ", sample.values_.back()));
  }
  return sample;
}

absl::StatusOr<ErrorSample> ErrorSample::FromState(const v1::SampleState& state, const Limits& limits) {
  return FromState({state.errors().data(), static_cast<size_t>(state.errors_size())},
                   state.has_sketch() ? &state.sketch() : nullptr, limits);
}

v1::SampleState ErrorSample::ToState() const {
  v1::SampleState state;
  state.mutable_errors()->Add(errors_.begin(), errors_.end());
  if (has_sketch()) *state.mutable_sketch() = sketch_.ToState();
  return state;
}

}  // namespace astray
