// Measures of how well scores rank anomalies above normal rows. labels: one a score, 1 is anomalous. Scores hold no
// NaN. Ties count as scikit-learn counts them (roc_auc_score, average_precision_score, precision_recall_curve). NaN
// where a class is missing.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace astray {

double Auroc(std::span<const float> scores, std::span<const uint8_t> labels);
double AveragePrecision(std::span<const float> scores, std::span<const uint8_t> labels);
// Over every threshold that is a score, with rows at or above it flagged.
double BestF1(std::span<const float> scores, std::span<const uint8_t> labels);

// What flagging rows with score >= threshold gives.
struct RankingPoint {
  float threshold = 0;
  double false_positive_rate = 0, recall = 0, precision = 0;
};
// The ROC and precision-recall curves: a point for each threshold that is a score, from the highest down. Points that
// lie within `step` of the one before in every coordinate are left out, but for the last; 0 keeps all. Empty where a
// class is missing.
std::vector<RankingPoint> RankingCurve(std::span<const float> scores, std::span<const uint8_t> labels, double step);

// A ratio of nothing is 0.
struct Confusion {
  uint64_t true_positives = 0, false_positives = 0, true_negatives = 0, false_negatives = 0;
  double precision() const;
  double recall() const;
  double f1() const;
  double false_positive_rate() const;
};

// Rows with a score above `threshold` are flagged.
Confusion CountAbove(std::span<const float> scores, std::span<const uint8_t> labels, float threshold);

}  // namespace astray
