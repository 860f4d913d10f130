// What error is normal: the sorted errors of held-out normal vectors. Immutable, thread-safe.
//
// Split-conformal prediction (Vovk, Gammerman & Shafer 2005; Lei et al. 2018): if calibration and fresh vectors are
// exchangeable, a fresh one exceeds Threshold(a) with probability at most a, and PValue is super-uniform.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/calibration.pb.h"

namespace astray {

class Calibration {
 public:
  static constexpr size_t kMaxSamples = 10'000'000;

  struct Origin {
    uint64_t epoch = 1;
    int64_t created_unix_seconds = 0;
    std::string artifact_sha256;
  };

  // FailedPrecondition where false_positive_rate is below 1 / (samples + 1):
  //   "a false-positive rate of 0.001 takes at least 999 calibration vectors, got 78 (finest rate: 0.0126582)"
  static absl::Status CheckSamples(size_t samples, double false_positive_rate);
  // errors: finite, not negative, any order; at least one, and as many as CheckSamples asks for.
  static absl::StatusOr<Calibration> Create(std::vector<float> errors, double false_positive_rate, Origin origin);
  static absl::StatusOr<Calibration> FromState(const astray::v1::CalibrationState& state);  // untrusted
  astray::v1::CalibrationState ToState() const;

  // The ⌈(n+1)(1-a)⌉-th smallest error, for the rate a given at creation. Above 0, so that score = error / threshold
  // is defined: where that error is 0, the smallest error above 0 (float's smallest normal number if there is none).
  double threshold() const { return threshold_; }
  double false_positive_rate() const { return false_positive_rate_; }
  double PValue(float error) const;  // (1 + #{calibration errors >= error}) / (n + 1); error is not NaN
  size_t samples() const { return errors_.size(); }
  double resolution() const { return 1.0 / static_cast<double>(samples() + 1); }
  const Origin& origin() const { return origin_; }
  uint64_t epoch() const { return origin_.epoch; }

 private:
  Calibration() = default;
  std::vector<float> errors_;  // ascending
  double false_positive_rate_ = 0;
  double threshold_ = 0;
  Origin origin_;
};

}  // namespace astray
