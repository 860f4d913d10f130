#include "client/evaluation.h"

#include <algorithm>
#include <limits>
#include <span>

#include "absl/strings/str_split.h"
#include "engine/base/status_macros.h"
#include "engine/detect/range_ranking.h"
#include "engine/detect/ranking.h"
#include "engine/train/time_order.h"

namespace astray {
namespace {

bool NamesACulprit(const Dataset& data, size_t row, std::span<const Contribution> contributions) {
  const std::vector<std::string> culprits = absl::StrSplit(data.culprits[row], ';');
  return std::ranges::any_of(contributions, [&](const Contribution& contribution) {
    return std::ranges::find(culprits, data.feature_names[contribution.feature]) != culprits.end();
  });
}

// Calibration::SegmentIndex of rows [begin, end); nothing where they have no segments.
std::vector<uint32_t> SegmentsOf(const Detector& detector, const Dataset& data, size_t begin, size_t end) {
  std::vector<uint32_t> segments;
  if (data.segments.empty()) return segments;
  for (size_t row = begin; row < end; ++row) {
    segments.push_back(detector.calibration().SegmentIndex(data.segments[row]));
  }
  return segments;
}

// Takes the verdicts of an entity's rows, in order.
class Collector {
 public:
  Collector(const Dataset& data, bool time_ordered, LabelledScores* scores)
      : data_(data), time_ordered_(time_ordered), scores_(*scores) {
    scores_.leads.resize(data.features());
  }

  void Take(uint32_t row, const Verdict& verdict, std::span<const Contribution> contributions) {
    if (verdict.state != Verdict::State::kScored) return;
    scores_.scores.push_back(verdict.score);
    scores_.labels.push_back(data_.labels[row]);
    scores_.rows.push_back(row);
    scores_.p_values.push_back(verdict.p_value);
    if (!verdict.anomalous) return;
    CountBlame(row, contributions);
    if (run_.end != row || !time_ordered_) EndRun();
    if (run_.end == 0) run_.begin = row;
    if (run_.end == 0 || verdict.score > run_.verdict.score) {
      run_.peak = row;
      run_.verdict = verdict;
      run_.contributions.assign(contributions.begin(), contributions.end());
    }
    run_.end = row + 1;
  }

  // No run goes on behind this.
  void EndRun() {
    if (run_.end == 0) return;
    auto& strongest = scores_.strongest;
    const auto place = std::ranges::upper_bound(strongest, run_.verdict.score, std::greater<>(),
                                                [](const FlaggedRun& run) { return run.verdict.score; });
    if (place != strongest.end() || strongest.size() < LabelledScores::kMaxStrongest) strongest.insert(place, run_);
    if (strongest.size() > LabelledScores::kMaxStrongest) strongest.pop_back();
    run_ = {};
  }

 private:
  void CountBlame(uint32_t row, std::span<const Contribution> contributions) {
    if (!contributions.empty()) {
      LeadCount& lead = scores_.leads[contributions.front().feature];
      ++(data_.labels[row] != 0 ? lead.anomalous : lead.normal);
    }
    if (data_.culprits.empty() || data_.labels[row] == 0 || data_.culprits[row].empty()) return;
    const auto first = [&](size_t count) { return contributions.first(std::min(count, contributions.size())); };
    scores_.blamed.push_back(row);
    scores_.top1 += NamesACulprit(data_, row, first(1)) ? 1 : 0;
    scores_.top3 += NamesACulprit(data_, row, first(3)) ? 1 : 0;
  }

  const Dataset& data_;
  bool time_ordered_;
  LabelledScores& scores_;
  FlaggedRun run_;  // end 0: none
};

void EvaluateRanges(const Dataset& data, const LabelledScores& all, v1::Evaluation* evaluation) {
  const size_t first_entity_rows = all.begins.size() > 1 ? all.begins[1] : data.rows();
  std::vector<float> channel(first_entity_rows);
  for (size_t row = 0; row < first_entity_rows; ++row) channel[row] = data.row(row)[0];
  const uint32_t window = DominantPeriod(channel);
  std::vector<uint8_t> flagged(data.rows());  // a row without a score is not flagged
  for (size_t i = 0; i < all.scores.size(); ++i) flagged[all.rows[i]] = all.scores[i] > 1 ? 1 : 0;
  const RangeDetection detection = DetectRanges(flagged, data.labels, all.begins);
  evaluation->set_time_ordered(true);
  evaluation->set_vus_pr(VusPr(all.scores, all.labels, window, all.ScoredBegins()));
  evaluation->set_vus_pr_window(window);
  evaluation->set_detection_delay_rows_mean(detection.delay_mean);
  evaluation->set_detection_delay_rows_median(detection.delay_median);
  evaluation->set_ranges(static_cast<uint32_t>(detection.ranges));
  evaluation->set_ranges_detected(static_cast<uint32_t>(detection.detected));
}

}  // namespace

std::vector<uint32_t> LabelledScores::ScoredBegins() const {
  std::vector<uint32_t> scored;
  for (const uint32_t begin : begins) {
    const auto place = static_cast<uint32_t>(std::ranges::lower_bound(rows, begin) - rows.begin());
    if (scored.empty() || (place > scored.back() && place < rows.size())) scored.push_back(place);
  }
  return scored;
}

bool IsTimeOrdered(const Detector& detector, const Dataset& data) {
  const v1::FeaturesRecipe& features = detector.model().recipe.features();
  return !features.has_sequence() && !features.has_log() && (detector.window() > 1 || !data.timestamps.empty());
}

absl::StatusOr<LabelledScores> ScoreLabelled(const Detector& detector, const Dataset& data, bool time_ordered) {
  LabelledScores scores;
  scores.begins = RunBegins(data, /*max_gap_seconds=*/0);
  scores.begins.insert(scores.begins.begin(), 0);
  Collector collector(data, time_ordered, &scores);
  ScoreResult result;
  for (size_t entity = 0; entity < scores.begins.size(); ++entity) {
    const size_t begin = scores.begins[entity];
    const size_t end = entity + 1 < scores.begins.size() ? scores.begins[entity + 1] : data.rows();
    const auto rows = std::span(data.values).subspan(begin * data.features(), (end - begin) * data.features());
    const size_t first = std::min(begin + detector.window() - 1, end);  // the newest row of the first vector
    RETURN_IF_ERROR(detector.Score(rows, {}, &result, SegmentsOf(detector, data, first, end)));
    for (size_t i = 0; i < result.verdicts.size(); ++i) {
      const std::span<const Contribution> named(result.contributions.data() + i * result.contributions_stride,
                                                result.verdicts[i].contributions);
      collector.Take(static_cast<uint32_t>(begin + i + detector.window() - 1), result.verdicts[i], named);
    }
    collector.EndRun();
  }
  return scores;
}

absl::Status NameByRepair(const Detector& detector, const Dataset& data, LabelledScores* scores) {
  constexpr size_t kWindows = 256;
  const size_t size = detector.window() * data.features();
  ScoreResult result;
  std::vector<float> windows;
  std::vector<uint32_t> segments;
  for (size_t first = 0; first < scores->blamed.size(); first += kWindows) {
    const auto rows = std::span(scores->blamed).subspan(first, std::min(kWindows, scores->blamed.size() - first));
    windows.clear();
    segments.clear();
    for (const size_t row : rows) {
      if (!data.segments.empty()) segments.push_back(detector.calibration().SegmentIndex(data.segments[row]));
      const auto window = std::span(data.values).subspan((row + 1) * data.features() - size, size);
      windows.insert(windows.end(), window.begin(), window.end());
    }
    RETURN_IF_ERROR(detector.ScoreWindows(windows, {.top_contributors = 1, .counterfactual = 1}, &result, segments));
    for (size_t i = 0; i < rows.size(); ++i) {
      const std::span<const Contribution> named(result.contributions.data() + i * result.contributions_stride,
                                                result.verdicts[i].contributions);
      scores->repaired_top1 += NamesACulprit(data, rows[i], named) ? 1 : 0;
    }
  }
  return absl::OkStatus();
}

v1::Evaluation Evaluate(const Detector& detector, const Dataset& data, const LabelledScores& all, bool time_ordered,
                        double seconds) {
  const std::vector<float>& scores = all.scores;
  const std::vector<uint8_t>& labels = all.labels;
  const Confusion confusion = CountAbove(scores, labels, 1.0f);
  v1::Evaluation evaluation;
  evaluation.set_model(detector.model().name);
  evaluation.set_version(static_cast<int32_t>(detector.model().version));
  evaluation.set_rows(static_cast<uint32_t>(data.rows()));
  evaluation.set_scored_rows(static_cast<uint32_t>(scores.size()));
  evaluation.set_anomalous_rows(static_cast<uint32_t>(confusion.true_positives + confusion.false_negatives));
  evaluation.set_flagged_rows(static_cast<uint32_t>(confusion.true_positives + confusion.false_positives));
  evaluation.set_auroc(Auroc(scores, labels));
  evaluation.set_average_precision(AveragePrecision(scores, labels));
  evaluation.set_f1_at_threshold(confusion.f1());
  evaluation.set_best_f1(BestF1(scores, labels));
  evaluation.set_precision_at_threshold(confusion.precision());
  evaluation.set_recall_at_threshold(confusion.recall());
  evaluation.set_false_positive_rate(confusion.false_positive_rate());
  evaluation.set_threshold(detector.calibration().threshold());
  evaluation.set_rows_per_second(seconds > 0 ? static_cast<double>(data.rows()) / seconds : 0);
  if (!data.culprits.empty()) {
    const double blamed = std::max<double>(1, static_cast<double>(all.blamed.size()));
    evaluation.set_culprit_top1_rate(static_cast<double>(all.top1) / blamed);
    evaluation.set_culprit_top3_rate(static_cast<double>(all.top3) / blamed);
    evaluation.set_counterfactual_top1_rate(static_cast<double>(all.repaired_top1) / blamed);
  }
  if (time_ordered) {
    EvaluateRanges(data, all, &evaluation);
  } else {
    constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
    evaluation.set_vus_pr(kNaN);
    evaluation.set_detection_delay_rows_mean(kNaN);
    evaluation.set_detection_delay_rows_median(kNaN);
  }
  return evaluation;
}

}  // namespace astray
