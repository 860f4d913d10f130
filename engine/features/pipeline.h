// The fitted transforms between a user's rows and the network's vectors, in order: scaling, then windowing. In front of
// them, where the rows are sessions of log lines, what makes a row of a session.
// Immutable after Fit; every const method is thread-safe.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/pipeline.pb.h"
#include "astray/v1/recipe.pb.h"
#include "engine/features/batch.h"
#include "engine/features/log_transform.h"
#include "engine/features/scaler.h"

namespace astray {

// values, observed: [rows x features], rows in time order. A missing value becomes the reading of its feature before
// it, or, where there is none, the first one after it; a feature without any reading keeps what it has.
void CarryReadings(std::span<const float> observed, size_t features, std::span<float> values);

class Pipeline {
 public:
  static constexpr size_t kMaxWindow = 4096;
  static constexpr size_t kMaxWidth = 1 << 16;  // features x window

  // rows: [n x feature_names.size()], NaN is missing. InvalidArgument for no rows, feature names that cannot be
  // (feature_names.h), or a column with no value at all: "column 'flow': expected values, all 400 are missing".
  // `recipe` has scaling and window filled in. `log` is what the rows' sessions were made with: its features are
  // feature_names, and the window is 1.
  static absl::StatusOr<Pipeline> Fit(const astray::v1::FeaturesRecipe& recipe, std::vector<std::string> feature_names,
                                      std::span<const float> rows, std::shared_ptr<const LogTransform> log = nullptr) {
    return Fit(recipe, std::move(feature_names), std::span(&rows, 1), std::move(log), {});
  }
  // The same of rows in several parts; a copy of one column at a time goes to `scratch`.
  static absl::StatusOr<Pipeline> Fit(const astray::v1::FeaturesRecipe& recipe, std::vector<std::string> feature_names,
                                      std::span<const std::span<const float>> parts,
                                      std::shared_ptr<const LogTransform> log, const Scratch& scratch);

  // Checks everything (sizes agree, numbers finite, scales positive, limits above): the state is untrusted.
  static absl::StatusOr<Pipeline> FromState(const astray::v1::PipelineState& state);
  astray::v1::PipelineState ToState() const;

  size_t features() const { return feature_names_.size(); }
  size_t window() const { return window_; }
  size_t width() const { return features() * window_; }  // the network's input size
  const std::vector<std::string>& feature_names() const { return feature_names_; }
  const Scaler& scaler() const { return scaler_; }
  const LogTransform* log() const { return log_.get(); }  // null where the model is no log's

  // InvalidArgument where the number of values is not a multiple of features(), or one is infinite; names the row,
  // counted from 0, and the feature.
  absl::Status CheckRows(std::span<const float> rows) const;

  // Turns n time-ordered rows into max(0, n - window + 1) vectors; vector i covers rows [i, i + window), oldest first.
  // A missing value is the scaler's fill; in a window, unless the artifact is an old one, CarryReadings' of that
  // window. Errors are CheckRows'. Reuses what `out` has allocated.
  // stride: rows from where one vector begins to where the next does; window() for windows that lie one behind the
  // other.
  absl::Status Apply(std::span<const float> rows, Batch* out, size_t stride = 1) const;
  // How many vectors that many rows give.
  size_t Vectors(size_t rows, size_t stride = 1) const { return rows < window_ ? 0 : (rows - window_) / stride + 1; }

  // The smallest and the largest value of each feature in training, in scaled units; [features()] each.
  std::span<const float> training_low() const { return training_low_; }
  std::span<const float> training_high() const { return training_high_; }

  // The newest row of a vector of width() values, back in the user's units; out has features() values.
  void InvertNewestRow(std::span<const float> vector, std::span<float> out) const;
  float InvertNewestValue(std::span<const float> vector, size_t feature) const;  // the same of one feature

 private:
  Pipeline() = default;
  absl::Status CheckLog() const;
  // Vector i is rows [i * stride, i * stride + window).
  void LayOut(std::span<const float> rows, size_t stride, size_t vectors, std::span<float> out) const;
  void KeepTrainingRange();  // from the scaler's profiles
  std::vector<std::string> feature_names_;
  std::shared_ptr<const LogTransform> log_;
  Scaler scaler_;
  size_t window_ = 1;
  bool carry_readings_ = false;
  std::vector<float> training_low_, training_high_;
};

}  // namespace astray
