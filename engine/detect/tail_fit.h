// The tail of errors beyond what they resolve: above a high enough start u, excesses of nearly any distribution follow
// the generalised Pareto law (Pickands 1975; Balkema & de Haan 1974),
//   P(error > u + x | error > u) = (1 + shape x / scale)^(-1 / shape)   (exp(-x / scale) for shape 0).
//
// The start is chosen as in Bader, Yan & Zhang (2018): candidates that leave fewer and fewer excesses, the first whose
// Anderson-Darling test does not reject the law. Shape and scale are estimated as in Zhang & Stephens (2009), whose
// posterior mean always exists. The test's p-value allows for their being estimated; its critical values, as those of
// Choulakian & Stephens (2001) a function of the shape, were simulated with this estimator.
//
// A fit from n errors says something of rates down to kFinestRatio / (n + 1). How far a rate may be off there is a
// property of n, not of the method: docs/decisions/0010.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "astray/v1/calibration.pb.h"

namespace astray {

class TailFit {
 public:
  static constexpr size_t kMinExcesses = 50;
  static constexpr size_t kMaxExcesses = 5'000;
  static constexpr double kLargestShare = 0.15;  // of the errors, above the lowest start
  static constexpr size_t kMinSamples = 334;     // kMinExcesses / kLargestShare
  static constexpr double kRejectBelow = 0.1;    // the test's p-value
  static constexpr double kMaxShape = 0.9;       // beyond it no rate is worth the name
  static constexpr double kFinestRatio = 0.01;

  // largest: the largest of `samples` errors, ascending. FailedPrecondition says why there is no tail, with the
  // numbers.
  static absl::StatusOr<TailFit> Fit(std::span<const float> largest, uint64_t samples);
  static absl::StatusOr<TailFit> FromState(const astray::v1::TailState& state);  // untrusted
  astray::v1::TailState ToState() const;

  // P(error > x) for x >= start().
  double Exceedance(double x) const;
  // The x with that exceedance, for 0 < probability <= exceedance of start().
  double Quantile(double probability) const;

  double start() const { return start_; }
  double shape() const { return shape_; }
  double scale() const { return scale_; }
  uint64_t excesses() const { return excesses_; }
  double start_exceedance() const { return start_exceedance_; }  // (excesses + 1) / (samples + 1)
  double p_value() const { return p_value_; }                    // of the test that it fits

  // The two parts, for tests. x: positive excesses, ascending, at least 10.
  struct Law {
    double shape, scale;
  };
  static Law Estimate(std::span<const double> x);
  static double AndersonDarling(std::span<const double> x, const Law& law);
  static double TestPValue(double statistic, double shape);  // 0.001 where it is less

 private:
  double start_ = 0, shape_ = 0, scale_ = 0, start_exceedance_ = 0, p_value_ = 0;
  uint64_t excesses_ = 0;
};

}  // namespace astray
