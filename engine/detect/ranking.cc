#include "engine/detect/ranking.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace astray {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct Totals {
  double positives = 0;
  double negatives = 0;
};

Totals Count(std::span<const uint8_t> labels) {
  Totals totals;
  for (const uint8_t label : labels) (label != 0 ? totals.positives : totals.negatives) += 1;
  return totals;
}

// Calls visit(true positives, false positives, threshold) for every threshold from the highest score down: everything
// at or above one score counts as flagged, so ties are taken together.
template <typename Visit>
void ForEachThreshold(std::span<const float> scores, std::span<const uint8_t> labels, Visit visit) {
  std::vector<uint32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return scores[a] > scores[b]; });
  double true_positives = 0;
  double false_positives = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    (labels[order[i]] != 0 ? true_positives : false_positives) += 1;
    if (i + 1 == order.size() || scores[order[i + 1]] != scores[order[i]])
      visit(true_positives, false_positives, scores[order[i]]);
  }
}

double Ratio(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

double Auroc(std::span<const float> scores, std::span<const uint8_t> labels) {
  const Totals totals = Count(labels);
  if (totals.positives == 0 || totals.negatives == 0) return kNaN;
  double area = 0;
  double last_true = 0;
  double last_false = 0;
  ForEachThreshold(scores, labels, [&](double true_positives, double false_positives, float) {
    area += (false_positives - last_false) * (true_positives + last_true) / 2;
    last_true = true_positives;
    last_false = false_positives;
  });
  return area / (totals.positives * totals.negatives);
}

double AveragePrecision(std::span<const float> scores, std::span<const uint8_t> labels) {
  const Totals totals = Count(labels);
  if (totals.positives == 0 || totals.negatives == 0) return kNaN;
  double sum = 0;
  double last_true = 0;
  ForEachThreshold(scores, labels, [&](double true_positives, double false_positives, float) {
    sum += (true_positives - last_true) * true_positives / (true_positives + false_positives);
    last_true = true_positives;
  });
  return sum / totals.positives;
}

double BestF1(std::span<const float> scores, std::span<const uint8_t> labels) {
  const Totals totals = Count(labels);
  if (totals.positives == 0 || totals.negatives == 0) return kNaN;
  double best = 0;
  ForEachThreshold(scores, labels, [&](double true_positives, double false_positives, float) {
    best = std::max(best, 2 * true_positives / (true_positives + false_positives + totals.positives));
  });
  return best;
}

std::vector<RankingPoint> RankingCurve(std::span<const float> scores, std::span<const uint8_t> labels, double step) {
  const Totals totals = Count(labels);
  std::vector<RankingPoint> curve;
  if (totals.positives == 0 || totals.negatives == 0) return curve;
  RankingPoint last;
  ForEachThreshold(scores, labels, [&](double true_positives, double false_positives, float threshold) {
    last = {.threshold = threshold,
            .false_positive_rate = false_positives / totals.negatives,
            .recall = true_positives / totals.positives,
            .precision = true_positives / (true_positives + false_positives)};
    const auto near = [&](double RankingPoint::*value) { return std::fabs(last.*value - curve.back().*value) < step; };
    if (curve.empty() || !near(&RankingPoint::false_positive_rate) || !near(&RankingPoint::recall) ||
        !near(&RankingPoint::precision)) {
      curve.push_back(last);
    }
  });
  if (curve.back().threshold != last.threshold) curve.push_back(last);
  return curve;
}

double Confusion::precision() const { return Ratio(true_positives, true_positives + false_positives); }
double Confusion::recall() const { return Ratio(true_positives, true_positives + false_negatives); }
double Confusion::f1() const {
  return Ratio(2 * true_positives, 2 * true_positives + false_positives + false_negatives);
}
double Confusion::false_positive_rate() const { return Ratio(false_positives, false_positives + true_negatives); }

Confusion CountAbove(std::span<const float> scores, std::span<const uint8_t> labels, float threshold) {
  Confusion confusion;
  for (size_t i = 0; i < scores.size(); ++i) {
    const bool flagged = scores[i] > threshold;
    if (labels[i] != 0) {
      ++(flagged ? confusion.true_positives : confusion.false_negatives);
    } else {
      ++(flagged ? confusion.false_positives : confusion.true_negatives);
    }
  }
  return confusion;
}

}  // namespace astray
