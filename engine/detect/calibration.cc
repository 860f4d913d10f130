#include "engine/detect/calibration.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

// (n + 1) * rate is rarely exact: 1000 * 0.001 must count as 1.
constexpr double kRounding = 1e-9;

bool IsSha256Hex(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

absl::Status CheckOrigin(const Calibration::Origin& origin) {
  if (origin.epoch == 0) return absl::InvalidArgumentError("epoch: expected at least 1, got 0");
  if (origin.created_unix_seconds < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("created_unix_seconds: expected at least 0, got ", origin.created_unix_seconds));
  }
  if (!origin.artifact_sha256.empty() && !IsSha256Hex(origin.artifact_sha256)) {
    return absl::InvalidArgumentError("artifact_sha256: expected 64 lower-case hex digits or nothing");
  }
  return absl::OkStatus();
}

// ⌊(n+1)a⌋: how many of n + 1 errors lie above the threshold.
double RowsAbove(size_t n, double false_positive_rate) {
  return std::floor(static_cast<double>(n + 1) * false_positive_rate + kRounding);
}

}  // namespace

absl::Status Calibration::CheckSamples(size_t samples, double false_positive_rate) {
  if (RowsAbove(samples, false_positive_rate) >= 1) return absl::OkStatus();
  const double needed = std::ceil(1 / false_positive_rate - 1 - kRounding);
  return absl::FailedPreconditionError(absl::StrCat("a false-positive rate of ", false_positive_rate,
                                                    " takes at least ", needed, " calibration vectors, got ", samples,
                                                    " (finest rate: ", 1.0 / static_cast<double>(samples + 1), ")"));
}

absl::StatusOr<Calibration> Calibration::Create(std::vector<float> errors, double false_positive_rate, Origin origin) {
  if (!(false_positive_rate > 0 && false_positive_rate < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("false_positive_rate: expected a number above 0 and below 1, got ", false_positive_rate));
  }
  if (errors.empty() || errors.size() > kMaxSamples) {
    return absl::InvalidArgumentError(
        absl::StrCat("errors: expected 1 to ", kMaxSamples, " of them, got ", errors.size()));
  }
  for (size_t i = 0; i < errors.size(); ++i) {
    if (!std::isfinite(errors[i]) || errors[i] < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("error ", i, ": expected a finite number of at least 0, got ", errors[i]));
    }
  }
  RETURN_IF_ERROR(CheckOrigin(origin));

  // ⌈(n+1)(1-a)⌉ = n + 1 - ⌊(n+1)a⌋
  const size_t n = errors.size();
  RETURN_IF_ERROR(CheckSamples(n, false_positive_rate));
  const double above = RowsAbove(n, false_positive_rate);
  const size_t rank = std::max<size_t>(n + 1 - static_cast<size_t>(above), 1);

  Calibration calibration;
  std::sort(errors.begin(), errors.end());
  calibration.threshold_ = errors[rank - 1];
  if (calibration.threshold_ <= 0) {
    // Raising a threshold flags less, so the guarantee stands.
    const auto positive = std::upper_bound(errors.begin(), errors.end(), 0.0f);
    calibration.threshold_ = positive == errors.end() ? std::numeric_limits<float>::min() : *positive;
  }
  calibration.errors_ = std::move(errors);
  calibration.false_positive_rate_ = false_positive_rate;
  calibration.origin_ = std::move(origin);
  return calibration;
}

absl::StatusOr<Calibration> Calibration::FromState(const v1::CalibrationState& state) {
  std::vector<float> errors(state.errors().begin(), state.errors().end());
  const auto descent = std::is_sorted_until(errors.begin(), errors.end());
  if (descent != errors.end()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "error ", descent - errors.begin(), ": expected ascending errors, got ", *descent, " after ", *(descent - 1)));
  }
  return Create(std::move(errors), state.false_positive_rate(),
                {.epoch = state.epoch(),
                 .created_unix_seconds = state.created_unix_seconds(),
                 .artifact_sha256 = state.artifact_sha256()});
}

v1::CalibrationState Calibration::ToState() const {
  v1::CalibrationState state;
  state.mutable_errors()->Add(errors_.begin(), errors_.end());
  state.set_false_positive_rate(false_positive_rate_);
  state.set_epoch(origin_.epoch);
  state.set_created_unix_seconds(origin_.created_unix_seconds);
  state.set_artifact_sha256(origin_.artifact_sha256);
  return state;
}

double Calibration::PValue(float error) const {
  const auto at_least = errors_.end() - std::lower_bound(errors_.begin(), errors_.end(), error);
  return (1.0 + static_cast<double>(at_least)) / static_cast<double>(errors_.size() + 1);
}

}  // namespace astray
