// What error is normal: the errors of held-out normal vectors. Immutable, thread-safe.
//
// Split-conformal prediction (Vovk, Gammerman & Shafer 2005; Lei et al. 2018): if calibration and fresh vectors are
// exchangeable, a fresh one exceeds the threshold for a rate a with probability at most a, and its p-value is
// super-uniform. Within a segment, and within a level of missing values (missing_level.h), of which there are vectors
// enough for the rate, the same holds by their own errors (Mondrian conformal prediction, Vovk et al. 2005). A vector
// of such a segment and of such a level is judged by the larger of the two thresholds and p-values: both guarantees
// hold.
//
// A rate below 1 / (n + 1) is no matter of ranks: its threshold, and p-values below that, are of a tail that is fitted
// to the largest errors (tail_fit.h), of all rows and of each segment whose own resolve no such rate. A segment whose
// errors are too few, or have no tail that fits, is judged by all rows.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "astray/v1/calibration.pb.h"
#include "engine/detect/calibration_samples.h"
#include "engine/detect/error_sample.h"
#include "engine/detect/tail_fit.h"

namespace astray {

class Calibration {
 public:
  static constexpr size_t kMaxSamples = 10'000'000;  // in one vector

  struct Origin {
    uint64_t epoch = 1;
    int64_t created_unix_seconds = 0;
    std::string artifact_sha256;
  };
  // All vectors, or a part of them.
  struct Group {
    std::string name;  // of a segment
    ErrorSample sample{ErrorSample::kGroup};
    double threshold = 0;  // its own, else that of all rows
    bool own = false;      // enough samples for the rate, or a tail
    // Of all vectors and of segments, where the samples resolve no such rate.
    std::optional<TailFit> tail;
    bool no_tail_fits = false;  // though there were samples enough
    double tail_begin = 0;      // errors above it have the tail's p-values

    double PValue(float error) const;  // error is not NaN
  };
  struct Judgement {
    double threshold;
    double p_value;
  };

  // CheckSamples: FailedPrecondition where false_positive_rate is below 1 / (samples + 1), and too low for a tail:
  //   "a false-positive rate of 0.001 takes at least 999 calibration vectors, got 78 (finest rate: 0.0126582), or 334
  //   and a tail that fits"
  static bool Resolves(uint64_t samples, double false_positive_rate);  // at least 1 / (samples + 1)
  static absl::Status CheckSamples(uint64_t samples, double false_positive_rate);
  // At least one error, and as many as CheckSamples asks for. FailedPrecondition where no tail fits.
  static absl::StatusOr<Calibration> Create(CalibrationSamples samples, double false_positive_rate, Origin origin);
  // The same of errors without groups: finite, not negative, any order.
  static absl::StatusOr<Calibration> Create(const std::vector<float>& errors, double false_positive_rate,
                                            Origin origin);
  static absl::StatusOr<Calibration> FromState(const astray::v1::CalibrationState& state);  // untrusted
  astray::v1::CalibrationState ToState() const;

  // Of all rows: the ⌈(n+1)(1-a)⌉-th smallest error, for the rate a given at creation, or the tail's. Above 0, so that
  // score = error / threshold is defined: where that error is 0, the smallest error above 0 (float's smallest normal
  // number if there is none).
  double threshold() const { return all_.threshold; }
  double false_positive_rate() const { return false_positive_rate_; }
  // (1 + #{calibration errors >= error}) / (n + 1), or the tail's; error is not NaN
  double PValue(float error) const { return all_.PValue(error); }

  double AtLeast(float error) const {
    return all_.sample.AtLeast(error);
  }  // how many errors are this large, of all rows

  // What Judge wants for a segment's name: 0 where it is empty or not known.
  uint32_t SegmentIndex(absl::string_view name) const;
  // By its segment and its level of missing values (0: nothing missing), else by all rows.
  Judgement Judge(float error, uint32_t segment, uint8_t missing_level) const;
  // The same of many errors in two steps. p_values[i] becomes PValue(errors[i]); of a NaN it says nothing. `ranks` is
  // scratch.
  void PValues(std::span<const float> errors, std::vector<uint32_t>* ranks, std::span<double> p_values) const;
  // p_value: PValue(error).
  Judgement Judge(float error, double p_value, uint32_t segment, uint8_t missing_level) const {
    if (segment == 0 && missing_level == 0) return {.threshold = threshold(), .p_value = p_value};
    return JudgeByGroups(error, p_value, segment, missing_level);
  }

  uint64_t samples() const { return all_.sample.samples(); }
  double resolution() const { return 1.0 / (static_cast<double>(samples()) + 1); }
  double rank_error() const { return all_.sample.rank_error(); }
  const std::optional<TailFit>& tail() const { return all_.tail; }
  const std::vector<Group>& segments() const { return segments_; }                             // ascending names
  const std::array<Group, kMissingLevels>& missing_levels() const { return missing_levels_; }  // level 1 first
  double autocorrelation_time() const { return autocorrelation_time_; }                        // 0: not known
  // Independent vectors that the samples are worth; the samples where that is not known.
  double effective_samples() const;
  uint32_t block_rows() const { return block_rows_; }
  CalibrationSamples ToSamples() const;  // to add to

  const Origin& origin() const { return origin_; }
  uint64_t epoch() const { return origin_.epoch; }

 private:
  struct SegmentTail {
    std::optional<TailFit> fit;
    bool none_fits = false;
  };
  struct Tails {
    std::optional<TailFit> all;
    std::vector<SegmentTail> segments;  // beside those of the samples
  };

  Calibration() = default;
  static absl::StatusOr<TailFit> TailFromState(const astray::v1::TailState& state, uint64_t samples,
                                               double false_positive_rate);
  static SegmentTail FitSegment(const ErrorSample& sample, double false_positive_rate);
  // The tail of all rows is fitted where it is needed and `tails` has none.
  static absl::StatusOr<Calibration> Make(CalibrationSamples samples, double false_positive_rate, Origin origin,
                                          Tails tails);
  void SetThresholds();
  Judgement JudgeByGroups(float error, double p_value, uint32_t segment, uint8_t missing_level) const;

  Group all_;
  std::vector<Group> segments_;
  std::array<Group, kMissingLevels> missing_levels_;
  double false_positive_rate_ = 0;
  double autocorrelation_time_ = 0;
  uint32_t block_rows_ = 0;
  std::vector<uint64_t> false_alarms_;
  Origin origin_;
};

}  // namespace astray
