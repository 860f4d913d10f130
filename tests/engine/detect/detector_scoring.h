// Scores rows with a detector, and compares what comes bit by bit.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/detect/detector.h"

namespace astray {

inline ScoreResult Score(const Detector& detector, std::span<const float> rows, const ScoreOptions& options = {}) {
  ScoreResult result;
  const absl::Status status = detector.Score(rows, options, &result);
  EXPECT_TRUE(status.ok()) << status;
  return result;
}

// Distinguishes 0 from -0, and takes a NaN for itself.
inline bool SameBits(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

inline bool SameBits(const Verdict& a, const Verdict& b) {
  return a.state == b.state && a.anomalous == b.anomalous && a.by_t_squared == b.by_t_squared &&
         a.contributions == b.contributions && a.repairs == b.repairs && SameBits(a.score, b.score) &&
         SameBits(a.error, b.error) && a.p_value == b.p_value;
}

inline bool SameBits(const Contribution& a, const Contribution& b) {
  return a.feature == b.feature && SameBits(a.share, b.share) && SameBits(a.observed, b.observed) &&
         SameBits(a.expected, b.expected) && SameBits(a.repaired_score, b.repaired_score);
}

inline bool SameRepairs(const ScoreResult& a, size_t i, const ScoreResult& b, size_t j) {
  return std::equal(
      a.repairs.begin() + static_cast<std::ptrdiff_t>(i * a.repairs_stride),
      a.repairs.begin() + static_cast<std::ptrdiff_t>(i * a.repairs_stride + a.verdicts[i].repairs),
      b.repairs.begin() + static_cast<std::ptrdiff_t>(j * b.repairs_stride),
      b.repairs.begin() + static_cast<std::ptrdiff_t>(j * b.repairs_stride + b.verdicts[j].repairs),
      [](const RepairStep& x, const RepairStep& y) { return x.feature == y.feature && SameBits(x.score, y.score); });
}

}  // namespace astray
