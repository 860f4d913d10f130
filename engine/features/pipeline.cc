#include "engine/features/pipeline.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/features/feature_names.h"

namespace astray {
namespace {

absl::Status CheckWindow(uint64_t window, size_t features) {
  if (window < 1 || window > Pipeline::kMaxWindow) {
    return absl::InvalidArgumentError(
        absl::StrCat("window: expected 1 to ", Pipeline::kMaxWindow, " rows, got ", window));
  }
  if (features * window > Pipeline::kMaxWidth) {
    return absl::InvalidArgumentError(absl::StrCat("window: expected features x window of at most ",
                                                   Pipeline::kMaxWidth, ", got ", features, " x ", window));
  }
  return absl::OkStatus();
}

bool AnyInfinite(std::span<const float> values) {
  // On the bits, without a branch: the compiler makes vector code of it.
  uint32_t any = 0;
  for (const float value : values) any |= (std::bit_cast<uint32_t>(value) & 0x7FFFFFFFu) == 0x7F800000u ? 1u : 0u;
  return any != 0;
}

}  // namespace

void CarryReadings(std::span<const float> observed, size_t features, std::span<float> values) {
  for (size_t f = 0; f < features; ++f) {
    size_t last = values.size();  // none yet
    for (size_t i = f; i < values.size(); i += features) {
      if (observed[i] == 0) {
        if (last < i) values[i] = values[last];
        continue;
      }
      if (last == values.size()) {
        for (size_t before = f; before < i; before += features) values[before] = values[i];
      }
      last = i;
    }
  }
}

absl::StatusOr<Pipeline> Pipeline::Fit(const v1::FeaturesRecipe& recipe, std::vector<std::string> feature_names,
                                       std::span<const std::span<const float>> parts,
                                       std::shared_ptr<const LogTransform> log, const Scratch& scratch) {
  RETURN_IF_ERROR(CheckFeatureNames(feature_names));
  RETURN_IF_ERROR(CheckWindow(recipe.window(), feature_names.size()));
  Pipeline pipeline;
  ASSIGN_OR_RETURN(pipeline.scaler_, Scaler::Fit(recipe.scaling(), feature_names, parts, scratch));
  pipeline.feature_names_ = std::move(feature_names);
  pipeline.window_ = recipe.window();
  pipeline.carry_readings_ = pipeline.window_ > 1;
  pipeline.log_ = std::move(log);
  RETURN_IF_ERROR(pipeline.CheckLog());
  pipeline.KeepTrainingRange();
  return pipeline;
}

absl::StatusOr<Pipeline> Pipeline::FromState(const v1::PipelineState& state) {
  Pipeline pipeline;
  pipeline.feature_names_.assign(state.feature_names().begin(), state.feature_names().end());
  RETURN_IF_ERROR(CheckFeatureNames(pipeline.feature_names_));
  const int first = state.transforms_size() == 3 && state.transforms(0).has_log() ? 1 : 0;
  if (state.transforms_size() != first + 2 || !state.transforms(first).has_scaler() ||
      !state.transforms(first + 1).has_window()) {
    return absl::InvalidArgumentError("transforms: expected a scaler and then a window, or a log before both");
  }
  ASSIGN_OR_RETURN(pipeline.scaler_, Scaler::FromState(state.transforms(first).scaler()));
  if (pipeline.scaler_.columns() != pipeline.features()) {
    return absl::InvalidArgumentError(absl::StrCat("scaler: expected ", pipeline.features(),
                                                   " columns, one a feature, got ", pipeline.scaler_.columns()));
  }
  pipeline.window_ = state.transforms(first + 1).window().rows();
  pipeline.carry_readings_ = state.transforms(first + 1).window().carry_readings();
  RETURN_IF_ERROR(CheckWindow(pipeline.window_, pipeline.features()));
  if (first == 1) {
    ASSIGN_OR_RETURN(LogTransform log, LogTransform::FromState(state.transforms(0).log()));
    pipeline.log_ = std::make_shared<const LogTransform>(std::move(log));
    RETURN_IF_ERROR(pipeline.CheckLog());
  }
  pipeline.KeepTrainingRange();
  return pipeline;
}

v1::PipelineState Pipeline::ToState() const {
  v1::PipelineState state;
  state.mutable_feature_names()->Assign(feature_names_.begin(), feature_names_.end());
  if (log_ != nullptr) *state.add_transforms()->mutable_log() = log_->state();
  *state.add_transforms()->mutable_scaler() = scaler_.state();
  v1::WindowState* window = state.add_transforms()->mutable_window();
  window->set_rows(static_cast<uint32_t>(window_));
  window->set_carry_readings(carry_readings_);
  return state;
}

absl::Status Pipeline::CheckLog() const {
  if (log_ == nullptr) return absl::OkStatus();
  if (window_ != 1) {
    return absl::InvalidArgumentError(absl::StrCat("window: expected 1 for sessions of a log, got ", window_));
  }
  if (log_->FeatureNames() == feature_names_) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("log: expected its ", log_->features(), " features, got others (", features(), ")"));
}

absl::Status Pipeline::CheckRows(std::span<const float> rows) const {
  if (rows.size() % features() != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("rows: expected a multiple of ", features(), " values (the model's features), got ", rows.size()));
  }
  if (!AnyInfinite(rows)) return absl::OkStatus();
  const auto infinite = std::find_if(rows.begin(), rows.end(), [](float value) { return std::isinf(value); });
  const auto index = static_cast<size_t>(infinite - rows.begin());
  return absl::InvalidArgumentError(absl::StrCat("row ", index / features(), ", feature '",
                                                 feature_names_[index % features()],
                                                 "': expected a finite number, or NaN for missing, got ", *infinite));
}

absl::Status Pipeline::Apply(std::span<const float> rows, Batch* out, size_t stride) const {
  if (rows.size() % features() != 0) return CheckRows(rows);
  const size_t vectors = Vectors(rows.size() / features(), stride);
  out->Resize(vectors, width());
  // Vectors one behind the other are rows as they lie.
  const bool as_they_lie = stride == window_ && rows.size() == vectors * width();
  std::vector<float>& scaled = as_they_lie ? out->values : out->row_values;
  scaled.resize(rows.size());
  if (scaler_.Scale(rows, scaled)) {
    if (!as_they_lie) LayOut(scaled, stride, vectors, out->values);
    out->ObserveAll();
    return absl::OkStatus();
  }
  out->ones = 0;
  if (as_they_lie && window_ == 1) {
    return scaler_.Fill(rows, out->values, out->observed, out->missing) ? absl::OkStatus() : CheckRows(rows);
  }
  if (as_they_lie) out->row_values = out->values;
  out->row_observed.resize(rows.size());
  out->row_missing.resize(rows.size() / features());
  if (!scaler_.Fill(rows, out->row_values, out->row_observed, out->row_missing)) return CheckRows(rows);
  LayOut(out->row_values, stride, vectors, out->values);
  LayOut(out->row_observed, stride, vectors, out->observed);
  for (size_t i = 0; i < vectors; ++i) {
    const auto rows_of = std::span(out->row_missing).subspan(i * stride, window_);
    out->missing[i] = std::reduce(rows_of.begin(), rows_of.end());
    if (!carry_readings_ || out->missing[i] == 0) continue;
    CarryReadings(std::span(out->observed).subspan(i * width(), width()), features(),
                  std::span(out->values).subspan(i * width(), width()));
  }
  return absl::OkStatus();
}

void Pipeline::LayOut(std::span<const float> rows, size_t stride, size_t vectors, std::span<float> out) const {
  for (size_t i = 0; i < vectors; ++i) {
    std::copy_n(rows.data() + i * stride * features(), width(), out.data() + i * width());
  }
}

void Pipeline::KeepTrainingRange() {
  std::vector<float> row(features()), observed(features());
  const auto keep = [&](auto end, std::vector<float>* scaled) {
    std::ranges::transform(scaler_.state().profile(), row.begin(),
                           [&](const v1::ColumnProfile& profile) { return static_cast<float>((profile.*end)()); });
    scaled->resize(features());
    scaler_.Apply(row, *scaled, observed);
  };
  keep(&v1::ColumnProfile::min, &training_low_);
  keep(&v1::ColumnProfile::max, &training_high_);
}

void Pipeline::InvertNewestRow(std::span<const float> vector, std::span<float> out) const {
  scaler_.Invert(vector.last(features()), out);
}

float Pipeline::InvertNewestValue(std::span<const float> vector, size_t feature) const {
  return scaler_.InvertHeld(feature, vector[vector.size() - features() + feature]);
}

}  // namespace astray
