#include "engine/detect/golden.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

absl::StatusOr<std::vector<float>> ScoreErrors(const Detector& detector, std::span<const float> rows) {
  ScoreResult result;
  RETURN_IF_ERROR(detector.Score(rows, {.top_contributors = 0}, &result));
  std::vector<float> errors;
  errors.reserve(result.verdicts.size());
  for (const Verdict& verdict : result.verdicts) {
    errors.push_back(verdict.state == Verdict::State::kScored ? verdict.error : kMissing);
  }
  return errors;
}

}  // namespace

absl::StatusOr<v1::Golden> MakeGolden(const Detector& detector, std::span<const float> rows) {
  ASSIGN_OR_RETURN(const std::vector<float> errors, ScoreErrors(detector, rows));
  if (errors.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("golden rows: expected at least ", detector.window(),
                                                   " (the window), got ", rows.size() / detector.features()));
  }
  v1::Golden golden;
  golden.set_features(static_cast<uint32_t>(detector.features()));
  golden.set_rows(static_cast<uint32_t>(rows.size() / detector.features()));
  // One kind of NaN, so that the same rows give the same bytes.
  for (const float value : rows) golden.add_values(std::isnan(value) ? kMissing : value);
  golden.mutable_errors()->Add(errors.begin(), errors.end());
  return golden;
}

absl::Status ReplayGolden(const Detector& detector, const v1::Golden& golden) {
  if (golden.features() != detector.features()) {
    return absl::InvalidArgumentError(
        absl::StrCat("features: expected ", detector.features(), ", got ", golden.features()));
  }
  if (static_cast<uint64_t>(golden.values_size()) != uint64_t{golden.rows()} * golden.features()) {
    return absl::InvalidArgumentError(absl::StrCat("values: expected ", golden.rows(), " rows x ", golden.features(),
                                                   " features, got ", golden.values_size()));
  }
  const uint64_t vectors = golden.rows() < detector.window() ? 0 : golden.rows() - detector.window() + 1;
  if (vectors == 0 || static_cast<uint64_t>(golden.errors_size()) != vectors) {
    return absl::InvalidArgumentError(absl::StrCat("errors: expected one for each of at least one vector (", vectors,
                                                   " of ", golden.rows(), " rows and a window of ", detector.window(),
                                                   "), got ", golden.errors_size()));
  }
  const std::span<const float> rows(golden.values().data(), static_cast<size_t>(golden.values_size()));
  ASSIGN_OR_RETURN(const std::vector<float> errors, ScoreErrors(detector, rows));
  const double threshold = detector.calibration().threshold();
  for (size_t i = 0; i < errors.size(); ++i) {
    const float expected = golden.errors(static_cast<int>(i));
    if (std::isnan(expected) && std::isnan(errors[i])) continue;
    const double difference = std::abs(static_cast<double>(errors[i]) - expected);
    // Written so that a NaN or an infinity in the file fails.
    if (!(difference <= kGoldenTolerance * std::max<double>(threshold, errors[i]))) {
      return absl::FailedPreconditionError(absl::StrCat("vector ", i, ": expected error ", expected, ", got ",
                                                        errors[i], ": this program does not reproduce the detector"));
    }
  }
  return absl::OkStatus();
}

}  // namespace astray
