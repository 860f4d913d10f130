// The errors of one group of normal vectors: all of them up to a limit, beyond that the largest exactly and a sketch
// (quantile_sketch.h) of the others. What is asked about the largest is exact for any number of errors; what concerns
// the sketch errs by its rank error on the side that flags less, so that a guarantee holds with the sketch's
// confidence.
//
//   sample.Add(error) ...; sample.Seal(); then the const functions, thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/calibration.pb.h"
#include "engine/detect/quantile_sketch.h"
#include "engine/detect/rank_index.h"

namespace astray {

class ErrorSample {
 public:
  struct Limits {
    size_t exact;  // errors that are all kept
    size_t top;    // of more, the largest that are kept
  };
  static constexpr Limits kAllRows = {.exact = 100'000, .top = 10'000};
  static constexpr Limits kGroup = {.exact = 10'000, .top = 2'500};  // of which there may be a thousand

  explicit ErrorSample(const Limits& limits) : limits_(limits), sketch_(SketchSize(limits)) {}

  void Add(float error);  // finite, not negative
  void Merge(const ErrorSample& other);
  void Seal();  // to be asked; Add and Merge open it again

  uint64_t samples() const { return errors_.size() + sketch_.samples(); }
  double rank_error() const;  // a share of the samples, 0 where all are kept
  // The errors that are kept exactly, ascending: all of them, or the largest.
  std::span<const float> largest() const { return errors_; }

  // #{errors >= error}: exactly, or an upper bound of it.
  double AtLeast(float error) const;
  // p_values[i] becomes PValue(errors[i]); of a NaN it says nothing. ranks: scratch.
  void PValues(std::span<const float> errors, std::vector<uint32_t>* ranks, std::span<double> p_values) const;
  // The smallest error that at most `above` - 1 errors are above, for 1 <= above; at least one error. An upper bound of
  // it where it comes from the sketch. PValue(x) <= above / (n + 1) exactly for x above it.
  float Threshold(uint64_t above) const;
  double PValue(float error) const { return (1 + AtLeast(error)) / (static_cast<double>(samples()) + 1); }

  // InvalidArgument names what is wrong (untrusted); sealed. `sketch` is null where there is none.
  static absl::StatusOr<ErrorSample> FromState(std::span<const float> errors, const astray::v1::SketchState* sketch,
                                               const Limits& limits);
  static absl::StatusOr<ErrorSample> FromState(const astray::v1::SampleState& state, const Limits& limits);
  bool has_sketch() const { return sketch_.samples() > 0; }
  astray::v1::SketchState SketchToState() const { return sketch_.ToState(); }
  astray::v1::SampleState ToState() const;

 private:
  static size_t SketchSize(const Limits& limits) { return limits.exact / 6; }
  void Spill();
  double AtLeast(float error, size_t exact) const;  // of those that are kept exactly, so many are

  Limits limits_;
  // Without a sketch in any order until it is sealed; with one a heap whose smallest is first, as sorted numbers are.
  std::vector<float> errors_;
  QuantileSketch sketch_;
  // Once sealed. Of the sketch: its values ascending, and for how many errors those from each on stand.
  std::vector<float> values_;
  std::vector<uint64_t> at_least_;
  double sketch_rank_error_ = 0;
  RankIndex errors_index_, values_index_;
};

}  // namespace astray
