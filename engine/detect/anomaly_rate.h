// The share of anomalous rows: how large it is of late, and whether it rose past what the calibration promises.
//
// Where n calibration errors, `above` of them over the threshold, and the live ones are exchangeable, the row after t
// live rows with s anomalous ones is anomalous with probability at most q = (above + 1 + s) / (n + 1 + t): it falls
// into each of the n + 1 + t gaps between those before it alike (an urn of Pólya's; Vovk, Gammerman & Shafer 2005). The
// test bets on rates of 2, 4, 8 and 16 times q, at most 1/2: capital grows by r / q with an anomalous row and by (1 -
// r) / (1 - q) with another, and capital 1 is put in before every row, as in exchangeability_test.h, whose bounds hold.
// q and not the calibration's rate: that one is an estimate of n rows, and a test against it would alarm in the end.
// Not thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace astray {

class AnomalyRate {
 public:
  static constexpr double kRecentRows = 1000;  // time constant of recent()

  // Fractions, where each calibration error counts for less than one.
  AnomalyRate(double calibration_rows, double above_threshold);

  // Rows for recent() alone, however close to each other.
  void Count(size_t rows, size_t anomalous);
  // A row for the test.
  void Step(bool anomalous);

  double recent() const;  // of about the last kRecentRows rows, exponentially weighted; 0 before the first
  double change() const { return change_; }  // 0 before the first Step

 private:
  double weight_ = 0, anomalous_weight_ = 0;
  double total_, above_;  // the urn
  std::array<double, 4> capital_ = {};
  double change_ = 0;
};

}  // namespace astray
