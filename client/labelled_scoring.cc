#include "client/labelled_scoring.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

constexpr size_t kRepairWindows = 256;  // at a time

// Highest score first; of equal ones the earlier in the data.
bool IsStronger(const FlaggedRun& a, const FlaggedRun& b) {
  if (a.verdict.score != b.verdict.score) return a.verdict.score > b.verdict.score;
  return std::pair(a.entity, a.begin) < std::pair(b.entity, b.begin);
}

// What lies in `pieces` in the order of `from`, in their order.
template <typename T>
std::vector<T> Gather(const std::vector<T>& from, const std::vector<std::pair<size_t, size_t>>& pieces) {
  std::vector<T> to;
  to.reserve(from.size());
  for (const auto& [first, count] : pieces) {
    const auto begin = from.begin() + static_cast<std::ptrdiff_t>(first);
    to.insert(to.end(), begin, begin + static_cast<std::ptrdiff_t>(count));
  }
  return to;
}

}  // namespace

PValueCounts::PValueCounts(double finest) : counts_(kPoints + 1) {
  for (size_t k = 0; k < kPoints; ++k) {
    // The last one is exactly 1.
    alphas_.push_back(std::pow(finest, 1 - static_cast<double>(k) / (kPoints - 1)));
  }
}

void PValueCounts::Add(double p_value) {
  // A p-value equal to alpha counts, whatever the last bit of a power is.
  const auto reaches = [](double alpha, double p) { return alpha * (1 + 1e-12) < p; };
  const auto place = std::lower_bound(alphas_.begin(), alphas_.end(), p_value, reaches) - alphas_.begin();
  ++counts_[static_cast<size_t>(place)];
  ++rows_;
}

uint64_t PValueCounts::AtMost(size_t k) const {
  return std::accumulate(counts_.begin(), counts_.begin() + static_cast<std::ptrdiff_t>(k) + 1, uint64_t{0});
}

void RowNames::Add(absl::string_view name) {
  const absl::string_view kept = name.substr(0, kMaxBytes);
  text_.append(kept.data(), kept.size());
  ends_.push_back(text_.size());
}

void RowNames::Append(const RowNames& from, size_t first, size_t count) {
  for (size_t row = first; row < first + count; ++row) Add(from[row]);
}

std::vector<uint32_t> LabelledScores::ScoredBegins() const {
  std::vector<uint32_t> scored;
  for (const uint32_t begin : begins) {
    const auto place = static_cast<uint32_t>(std::ranges::lower_bound(rows, begin) - rows.begin());
    if (scored.empty() || (place > scored.back() && place < rows.size())) scored.push_back(place);
  }
  return scored;
}

LabelledScoring::LabelledScoring(const Detector* detector, std::vector<std::string> feature_names,
                                 const Options& options)
    : detector_(detector), options_(options) {
  scores_.has_culprits = options.has_culprits;
  scores_.feature_names = std::move(feature_names);
  scores_.leads.resize(detector->features());
  scores_.p_values = PValueCounts(detector->calibration().resolution());
}

absl::Status LabelledScoring::Add(const LabelledRow& row) {
  if (scores_.row_labels.size() + labels_.size() >= kMaxRows) {
    return absl::InvalidArgumentError(absl::StrCat("expected at most ", kMaxRows, " rows"));
  }
  const auto [known, is_new] = numbers_.try_emplace(row.entity, static_cast<uint32_t>(entities_.size()));
  if (is_new) {
    entities_.emplace_back();
    if (detector_->model().hindsight) entities_.back().hindsight = std::make_unique<Hindsight>(*detector_);
    scores_.entities.emplace_back(row.entity);
  }
  if (known->second == 0 && scores_.channel.size() < LabelledScores::kMaxChannel) {
    scores_.channel.push_back(row.values[0]);
  }
  values_.insert(values_.end(), row.values.begin(), row.values.end());
  labels_.push_back(row.label);
  entity_of_.push_back(known->second);
  segment_of_.push_back(detector_->calibration().SegmentIndex(row.segment));
  if (HindsightHasSegments()) {
    hindsight_segment_of_.push_back(detector_->model().hindsight->calibration.SegmentIndex(row.segment));
  }
  if (options_.has_culprits) culprits_.emplace_back(row.culprits);
  if (options_.named) names_.Add(row.name);
  return labels_.size() < options_.group_rows ? absl::OkStatus() : ScoreWaiting();
}

bool LabelledScoring::HindsightHasSegments() const {
  const auto& hindsight = detector_->model().hindsight;
  return hindsight && !hindsight->calibration.segments().empty();
}

absl::Status LabelledScoring::ScoreWaiting() {
  order_.resize(labels_.size());
  std::iota(order_.begin(), order_.end(), 0);
  if (!std::ranges::is_sorted(entity_of_)) {
    std::ranges::stable_sort(order_, {}, [&](uint32_t row) { return entity_of_[row]; });
  }
  for (size_t first = 0; first < order_.size();) {
    const uint32_t entity = entity_of_[order_[first]];
    size_t end = first + 1;
    while (end < order_.size() && end - first < kSliceRows && entity_of_[order_[end]] == entity) ++end;
    RETURN_IF_ERROR(ScoreSlice(entity, std::span(order_).subspan(first, end - first)));
    first = end;
  }
  values_.clear();
  labels_.clear();
  entity_of_.clear();
  segment_of_.clear();
  hindsight_segment_of_.clear();
  culprits_.clear();
  names_ = {};
  return absl::OkStatus();
}

absl::Status LabelledScoring::ScoreSlice(uint32_t number, std::span<const uint32_t> rows) {
  const size_t features = detector_->features(), window = detector_->window();
  Entity& entity = entities_[number];
  const size_t before = entity.tail.size() / features;
  rows_ = entity.tail;
  segments_.clear();
  for (const uint32_t row : rows) {
    const auto values = std::span(values_).subspan(row * features, features);
    rows_.insert(rows_.end(), values.begin(), values.end());
    // A vector is of its newest row's.
    if (rows_.size() >= window * features) segments_.push_back(segment_of_[row]);
    scores_.row_labels.push_back(labels_[row]);
    if (!names_.empty()) scores_.names.Append(names_, row, 1);
    if (HindsightHasSegments()) entity.hindsight_segments.push_back(hindsight_segment_of_[row]);
  }
  const auto start = std::chrono::steady_clock::now();
  const auto look_back = [&](const RebuiltVectors& windows, std::span<const float> errors) {
    if (entity.hindsight) entity.hindsight->Add(windows, errors, &entity.hindsight_errors);
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(detector_->Score(rows_, {}, &result_, segments_, absl::OkStatus, look_back));
  scores_.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const size_t scored = scores_.scores.size();
  for (size_t i = 0; i < result_.verdicts.size(); ++i) {
    const size_t row = i + window - 1 - before;  // of the slice: the tail is shorter than a window
    RETURN_IF_ERROR(Take({.entity = number,
                          .row = entity.rows + static_cast<uint32_t>(row),
                          .waiting = rows[row],
                          .window = std::span(rows_).subspan(i * features, window * features),
                          .verdict = result_.verdicts[i],
                          .contributions = result_.contributions_of(i)}));
  }
  entity.rows += static_cast<uint32_t>(rows.size());
  const size_t kept = std::min(rows_.size(), (window - 1) * features);
  entity.tail.assign(rows_.end() - static_cast<std::ptrdiff_t>(kept), rows_.end());
  if (pieces_.empty() || pieces_.back().entity != number) pieces_.push_back({.entity = number});
  pieces_.back().rows += static_cast<uint32_t>(rows.size());
  pieces_.back().scored += static_cast<uint32_t>(scores_.scores.size() - scored);
  return absl::OkStatus();
}

absl::Status LabelledScoring::Take(const ScoredRow& row) {
  if (row.verdict.state != Verdict::State::kScored) return absl::OkStatus();
  const uint8_t label = labels_[row.waiting];
  scores_.scores.push_back(row.verdict.score);
  scores_.labels.push_back(label);
  scores_.rows.push_back(row.row);
  if (label == 0) scores_.p_values.Add(row.verdict.p_value);
  if (!row.verdict.anomalous) return absl::OkStatus();
  if (!row.contributions.empty()) {
    LeadCount& lead = scores_.leads[row.contributions.front().feature];
    ++(label != 0 ? lead.anomalous : lead.normal);
  }
  FlaggedRun& run = entities_[row.entity].run;
  if (run.end != row.row || !options_.time_ordered) EndRun(row.entity);
  if (run.end == 0) run.begin = row.row;
  if (run.end == 0 || row.verdict.score > run.verdict.score) {
    run.peak = row.row;
    run.verdict = row.verdict;
    run.contributions.assign(row.contributions.begin(), row.contributions.end());
  }
  run.end = row.row + 1;
  return label != 0 && options_.has_culprits && !culprits_[row.waiting].empty() ? Blame(row) : absl::OkStatus();
}

void LabelledScoring::EndRun(uint32_t entity) {
  FlaggedRun& run = entities_[entity].run;
  if (run.end == 0) return;
  run.entity = entity;
  auto& strongest = scores_.strongest;
  const auto place = std::ranges::upper_bound(strongest, run, IsStronger);
  if (place != strongest.end() || strongest.size() < LabelledScores::kMaxStrongest) strongest.insert(place, run);
  if (strongest.size() > LabelledScores::kMaxStrongest) strongest.pop_back();
  run = {};
}

bool LabelledScoring::NamesACulprit(absl::string_view culprits, std::span<const Contribution> contributions) const {
  const std::vector<absl::string_view> names = absl::StrSplit(culprits, ';');
  return std::ranges::any_of(contributions, [&](const Contribution& contribution) {
    return std::ranges::find(names, scores_.feature_names[contribution.feature]) != names.end();
  });
}

absl::Status LabelledScoring::Blame(const ScoredRow& row) {
  const std::string& culprits = culprits_[row.waiting];
  const auto first = [&](size_t count) { return row.contributions.first(std::min(count, row.contributions.size())); };
  scores_.blamed += 1;
  scores_.top1 += NamesACulprit(culprits, first(1)) ? 1 : 0;
  scores_.top3 += NamesACulprit(culprits, first(3)) ? 1 : 0;
  blamed_windows_.insert(blamed_windows_.end(), row.window.begin(), row.window.end());
  blamed_segments_.push_back(segment_of_[row.waiting]);
  blamed_culprits_.push_back(culprits);
  return blamed_culprits_.size() < kRepairWindows ? absl::OkStatus() : RepairBlamed();
}

absl::Status LabelledScoring::RepairBlamed() {
  if (blamed_culprits_.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(detector_->ScoreWindows(blamed_windows_, {.top_contributors = 1, .counterfactual = 1}, &repaired_,
                                          blamed_segments_));
  for (size_t i = 0; i < blamed_culprits_.size(); ++i) {
    scores_.repaired_top1 += NamesACulprit(blamed_culprits_[i], repaired_.contributions_of(i)) ? 1 : 0;
  }
  blamed_windows_.clear();
  blamed_segments_.clear();
  blamed_culprits_.clear();
  return absl::OkStatus();
}

void LabelledScoring::Group() {
  uint32_t begin = 0;
  for (const Entity& entity : entities_) {
    scores_.begins.push_back(begin);
    begin += entity.rows;
  }
  if (!std::ranges::is_sorted(pieces_, {}, &Piece::entity)) {
    std::vector<std::pair<size_t, size_t>> rows, scored;  // first and count of each piece
    size_t row = 0, score = 0;
    for (const Piece& piece : pieces_) {
      rows.emplace_back(std::exchange(row, row + piece.rows), piece.rows);
      scored.emplace_back(std::exchange(score, score + piece.scored), piece.scored);
    }
    std::vector<size_t> order(pieces_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_sort(order, {}, [&](size_t piece) { return pieces_[piece].entity; });
    const auto ordered = [&](const std::vector<std::pair<size_t, size_t>>& places) {
      std::vector<std::pair<size_t, size_t>> result;
      result.reserve(order.size());
      for (const size_t piece : order) result.push_back(places[piece]);
      return result;
    };
    rows = ordered(rows);
    scored = ordered(scored);
    scores_.row_labels = Gather(scores_.row_labels, rows);
    scores_.scores = Gather(scores_.scores, scored);
    scores_.labels = Gather(scores_.labels, scored);
    scores_.rows = Gather(scores_.rows, scored);
    RowNames names;
    for (const auto& [first, count] : rows) {
      if (!scores_.names.empty()) names.Append(scores_.names, first, count);
    }
    scores_.names = std::move(names);
    std::ranges::stable_sort(pieces_, {}, &Piece::entity);
  }
  size_t at = 0;
  for (const Piece& piece : pieces_) {
    for (size_t i = 0; i < piece.scored; ++i) scores_.rows[at++] += scores_.begins[piece.entity];
  }
  for (FlaggedRun& run : scores_.strongest) {
    for (uint32_t* row : {&run.begin, &run.end, &run.peak}) *row += scores_.begins[run.entity];
  }
  if (scores_.entities.size() == 1 && scores_.entities.front().empty()) scores_.entities.clear();
}

void LabelledScoring::JudgeInHindsight() {
  for (size_t number = 0; number < entities_.size(); ++number) {
    Entity& entity = entities_[number];
    if (!entity.hindsight) return;
    const Calibration& calibration = detector_->model().hindsight->calibration;
    entity.hindsight->Finish(&entity.hindsight_errors);
    HindsightScores& scores = scores_.hindsight;
    const auto first = static_cast<uint32_t>(scores.scores.size());
    for (size_t row = 0; row < entity.hindsight_errors.size(); ++row) {
      const float error = entity.hindsight_errors[row];
      if (std::isnan(error)) continue;
      const uint32_t segment = entity.hindsight_segments.empty() ? 0 : entity.hindsight_segments[row];
      scores.scores.push_back(ScoreOf(error, calibration.Judge(error, segment, /*missing_level=*/0).threshold));
      scores.rows.push_back(scores_.begins[number] + static_cast<uint32_t>(row));
      scores.labels.push_back(scores_.row_labels[scores.rows.back()]);
    }
    if (scores.scores.size() > first) scores.begins.push_back(first);
  }
}

absl::StatusOr<LabelledScores> LabelledScoring::Finish() {
  RETURN_IF_ERROR(ScoreWaiting());
  if (scores_.row_labels.empty()) return absl::InvalidArgumentError("expected rows, got none");
  RETURN_IF_ERROR(RepairBlamed());
  for (uint32_t number = 0; number < entities_.size(); ++number) EndRun(number);
  Group();
  JudgeInHindsight();
  return std::move(scores_);
}

}  // namespace astray
