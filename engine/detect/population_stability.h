// How the values of each feature are spread of late, against training: the population stability index
//   PSI = sum over bins of (live - trained) ln(live / trained)
// (Siddiqi 2006, "Credit Risk Scorecards": below 0.1 stable, above 0.25 shifted). Bins are those of the column's
// profile (pipeline.proto) and one of missing values; half a row is added to each. Without any change n live and m
// training rows have a PSI of about (bins - 1)(1 / n + 1 / m), which is taken off.
//
// Two memories: all rows, older ones fading; and the last 128 to 255 alone. Memory is 144 bytes a feature and Add takes
// a few nanoseconds a value. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "astray/v1/pipeline.pb.h"
#include "engine/features/column_profile.h"

namespace astray {

struct FeatureShift {
  // None before kBlockRows rows, or of a profile without bins. At least 0.
  std::optional<double> psi, recent_psi;
  // Above 0.25 and five standard deviations of what no change gives.
  bool shifted = false, recently_shifted = false;
  double recent_missing_ratio = 0;
  double trained_missing_ratio = 0;
  // Of recent values a tenth more than in training, and four standard deviations.
  bool went_missing = false;
};

class PopulationStability {
 public:
  static constexpr size_t kBlockRows = 128;
  static constexpr double kShifted = 0.25;

  // memory_rows: after so many rows, what came before weighs a third (1 / e). row_spacing: of the training rows, one in
  // so many counts as independent.
  PopulationStability(const google::protobuf::RepeatedPtrField<astray::v1::ColumnProfile>& profiles, double memory_rows,
                      size_t row_spacing);

  void Add(std::span<const float> row);  // [features], NaN is missing
  FeatureShift Shift(size_t feature) const;

  size_t features() const { return columns_.size(); }
  uint64_t rows() const { return rows_; }

 private:
  static constexpr size_t kBins = kMaxCuts + 2;  // the last: missing

  struct Column {
    float cuts[kMaxCuts];     // infinity past the last
    double trained[kBins];    // shares
    size_t value_bins = 0;    // 0: no bins
    double trained_rows = 0;  // independent ones
  };
  struct Divergence {
    double psi = 0;
    bool shifted = false;
  };

  static Divergence Compare(const Column& column, std::span<const double> counts, double rows);
  void EndBlock();

  std::vector<Column> columns_;
  double fading_;  // of a block
  uint64_t rows_ = 0;
  uint32_t block_rows_ = 0, last_block_rows_ = 0;
  double past_rows_ = 0;
  std::vector<uint32_t> block_, last_block_;  // [features x kBins]
  std::vector<float> past_;                   // the same, of all complete blocks, faded
};

}  // namespace astray
