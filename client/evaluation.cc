#include "client/evaluation.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "engine/detect/range_ranking.h"
#include "engine/detect/ranking.h"

namespace astray {
namespace {

// What Evaluation and HindsightEvaluation have in common.
template <typename Measures>
void MeasureRows(const std::vector<float>& scores, const std::vector<uint8_t>& labels, const Calibration& calibration,
                 Measures* measures) {
  const Confusion confusion = CountAbove(scores, labels, 1.0f);
  measures->set_scored_rows(static_cast<uint32_t>(scores.size()));
  measures->set_flagged_rows(static_cast<uint32_t>(confusion.true_positives + confusion.false_positives));
  measures->set_auroc(Auroc(scores, labels));
  measures->set_average_precision(AveragePrecision(scores, labels));
  measures->set_f1_at_threshold(confusion.f1());
  measures->set_best_f1(BestF1(scores, labels));
  measures->set_precision_at_threshold(confusion.precision());
  measures->set_recall_at_threshold(confusion.recall());
  measures->set_false_positive_rate(confusion.false_positive_rate());
  measures->set_threshold(calibration.threshold());
}

void EvaluateRanges(const LabelledScores& all, v1::Evaluation* evaluation) {
  const uint32_t window = DominantPeriod(all.channel);
  std::vector<uint8_t> flagged(all.row_labels.size());  // a row without a score is not flagged
  for (size_t i = 0; i < all.scores.size(); ++i) flagged[all.rows[i]] = all.scores[i] > 1 ? 1 : 0;
  const RangeDetection detection = DetectRanges(flagged, all.row_labels, all.begins);
  evaluation->set_time_ordered(true);
  evaluation->set_vus_pr(VusPr(all.scores, all.labels, window, all.ScoredBegins()));
  evaluation->set_vus_pr_window(window);
  evaluation->set_detection_delay_rows_mean(detection.delay_mean);
  evaluation->set_detection_delay_rows_median(detection.delay_median);
  evaluation->set_ranges(static_cast<uint32_t>(detection.ranges));
  evaluation->set_ranges_detected(static_cast<uint32_t>(detection.detected));
  if (!evaluation->has_hindsight()) return;
  const HindsightScores& later = all.hindsight;
  evaluation->mutable_hindsight()->set_vus_pr(VusPr(later.scores, later.labels, window, later.begins));
}

}  // namespace

bool IsTimeOrdered(const Detector& detector, bool has_times) {
  const v1::FeaturesRecipe& features = detector.model().recipe.features();
  return !features.has_sequence() && !features.has_log() && (detector.window() > 1 || has_times);
}

v1::Evaluation Evaluate(const Detector& detector, const LabelledScores& all, bool time_ordered) {
  v1::Evaluation evaluation;
  evaluation.set_model(detector.model().name);
  evaluation.set_version(static_cast<int32_t>(detector.model().version));
  const auto rows = static_cast<double>(all.row_labels.size());
  evaluation.set_rows(static_cast<uint32_t>(all.row_labels.size()));
  evaluation.set_anomalous_rows(static_cast<uint32_t>(std::ranges::count(all.labels, 1)));
  MeasureRows(all.scores, all.labels, detector.calibration(), &evaluation);
  evaluation.set_rows_per_second(all.seconds > 0 ? rows / all.seconds : 0);
  if (all.has_culprits) {
    const double blamed = std::max<double>(1, static_cast<double>(all.blamed));
    evaluation.set_culprit_top1_rate(static_cast<double>(all.top1) / blamed);
    evaluation.set_culprit_top3_rate(static_cast<double>(all.top3) / blamed);
    evaluation.set_counterfactual_top1_rate(static_cast<double>(all.repaired_top1) / blamed);
  }
  if (detector.model().hindsight) {
    MeasureRows(all.hindsight.scores, all.hindsight.labels, detector.model().hindsight->calibration,
                evaluation.mutable_hindsight());
  }
  if (time_ordered) {
    EvaluateRanges(all, &evaluation);
  } else {
    constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
    evaluation.set_vus_pr(kNaN);
    evaluation.set_detection_delay_rows_mean(kNaN);
    evaluation.set_detection_delay_rows_median(kNaN);
  }
  return evaluation;
}

}  // namespace astray
