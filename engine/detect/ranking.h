// Measures of how well scores rank anomalies above normal rows. labels: 1 is anomalous. Ties count as scikit-learn
// counts them. NaN where a class is missing.
#pragma once

#include <cstdint>
#include <span>

namespace astray {

double Auroc(std::span<const float> scores, std::span<const uint8_t> labels);
double AveragePrecision(std::span<const float> scores, std::span<const uint8_t> labels);
double BestF1(std::span<const float> scores, std::span<const uint8_t> labels);

struct Confusion {
  uint64_t true_positives = 0, false_positives = 0, true_negatives = 0, false_negatives = 0;
  double precision() const;
  double recall() const;
  double f1() const;
  double false_positive_rate() const;
};
Confusion CountAbove(std::span<const float> scores, std::span<const uint8_t> labels, float threshold);

}  // namespace astray
