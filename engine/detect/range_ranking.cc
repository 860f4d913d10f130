#include "engine/detect/range_ranking.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

namespace astray {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr int kThresholds = 250;
constexpr uint32_t kFar = std::numeric_limits<uint32_t>::max();

// A value a threshold, highest threshold first.
using PerThreshold = std::array<double, kThresholds>;

void AddUp(PerThreshold* counts) { std::partial_sum(counts->begin(), counts->end(), counts->begin()); }

// Of each row the first threshold that flags it; all later ones do, too.
std::vector<uint8_t> FirstThresholds(std::span<const float> scores) {
  std::vector<float> sorted(scores.begin(), scores.end());
  std::ranges::sort(sorted, std::greater<>());
  const double step = static_cast<double>(sorted.size() - 1) / (kThresholds - 1);
  std::array<float, kThresholds> thresholds;
  for (int k = 0; k + 1 < kThresholds; ++k) thresholds[k] = sorted[static_cast<size_t>(k * step)];
  thresholds.back() = sorted.back();
  std::vector<uint8_t> first(scores.size());
  for (size_t i = 0; i < scores.size(); ++i) {
    first[i] =
        static_cast<uint8_t>(std::ranges::lower_bound(thresholds, scores[i], std::greater<>()) - thresholds.begin());
  }
  return first;
}

// A row outside every range that is near one.
struct BufferRow {
  uint32_t nearest = kFar;  // distance to the nearest range of its entity
  uint32_t second = kFar;   // to the one nearest but one
  uint8_t threshold = 0;    // the first that flags it
};

void Offer(uint32_t distance, BufferRow* row) {
  row->second = std::min(row->second, std::max(row->nearest, distance));
  row->nearest = std::min(row->nearest, distance);
}

// Rows at most `reach` from a range. Only the two ranges before a row and the two after it can be its nearest two.
std::vector<BufferRow> BufferRows(const std::vector<LabelledRange>& ranges, const std::vector<uint8_t>& first,
                                  uint32_t reach) {
  std::vector<BufferRow> rows;
  const auto same_entity = [&](size_t a, size_t b) {
    return a < ranges.size() && b < ranges.size() && ranges[a].entity_begin == ranges[b].entity_begin;
  };
  const auto add_rows = [&](uint32_t begin, uint32_t end, size_t before, size_t after) {
    for (uint32_t row = begin; row < end; ++row) {
      BufferRow buffer{.threshold = first[row]};
      if (before < ranges.size()) {
        Offer(row - ranges[before].end + 1, &buffer);
        if (same_entity(before, before - 1)) Offer(row - ranges[before - 1].end + 1, &buffer);
      }
      if (after < ranges.size()) {
        Offer(ranges[after].begin - row, &buffer);
        if (same_entity(after, after + 1)) Offer(ranges[after + 1].begin - row, &buffer);
      }
      if (buffer.nearest <= reach) rows.push_back(buffer);
    }
  };
  for (size_t i = 0; i < ranges.size(); ++i) {
    const bool first_of_entity = !same_entity(i, i - 1);
    if (first_of_entity) add_rows(ranges[i].entity_begin, ranges[i].begin, ranges.size(), i);
    const bool last_of_entity = !same_entity(i, i + 1);
    add_rows(ranges[i].end, last_of_entity ? ranges[i].entity_end : ranges[i + 1].begin, i,
             last_of_entity ? ranges.size() : i + 1);
  }
  return rows;
}

// The labels of buffer rows with width w, at the thresholds that flag them.
PerThreshold BufferLabels(const std::vector<BufferRow>& rows, uint32_t w) {
  PerThreshold sums{};
  const uint32_t half = w / 2;
  std::vector<double> label(half + 1);
  for (uint32_t d = 1; d <= half; ++d) label[d] = std::sqrt(1 - static_cast<double>(d) / w);
  for (const BufferRow& row : rows) {
    // Two labels are at least sqrt(1/2) each: together more than 1.
    if (row.nearest <= half) sums[row.threshold] += row.second <= half ? 1 : label[row.nearest];
  }
  AddUp(&sums);
  return sums;
}

// The share of ranges, widened by `half` and merged, that a threshold touches. touched: of each widened range the first
// threshold that does.
PerThreshold TouchedShare(const std::vector<LabelledRange>& ranges, const std::vector<uint8_t>& touched,
                          uint32_t half) {
  PerThreshold share{};
  double merged = 0;
  for (size_t i = 0; i < ranges.size();) {
    uint8_t first = touched[i];
    size_t next = i + 1;
    while (next < ranges.size() && ranges[next].entity_begin == ranges[i].entity_begin &&
           ranges[next].begin - (ranges[next - 1].end - 1) <= 2 * half) {
      first = std::min(first, touched[next++]);
    }
    share[first] += 1;
    merged += 1;
    i = next;
  }
  AddUp(&share);
  for (double& value : share) value /= merged;
  return share;
}

}  // namespace

std::vector<LabelledRange> LabelledRanges(std::span<const uint8_t> labels, std::span<const uint32_t> begins) {
  constexpr uint32_t kAll[] = {0};
  if (begins.empty()) begins = kAll;
  std::vector<LabelledRange> ranges;
  const auto rows = static_cast<uint32_t>(labels.size());
  for (size_t entity = 0; entity < begins.size(); ++entity) {
    const uint32_t begin = begins[entity];
    const uint32_t end = entity + 1 < begins.size() ? begins[entity + 1] : rows;
    for (uint32_t row = begin; row < end; ++row) {
      if (labels[row] == 0) continue;
      LabelledRange range{.begin = row, .end = row, .entity_begin = begin, .entity_end = end};
      while (range.end < end && labels[range.end] != 0) ++range.end;
      row = range.end;
      ranges.push_back(range);
    }
  }
  return ranges;
}

double VusPr(std::span<const float> scores, std::span<const uint8_t> labels, uint32_t window,
             std::span<const uint32_t> begins) {
  const double positives = static_cast<double>(std::ranges::count_if(labels, [](uint8_t label) { return label != 0; }));
  if (positives == 0 || positives == static_cast<double>(labels.size())) return kNaN;
  const std::vector<uint8_t> first = FirstThresholds(scores);
  const std::vector<LabelledRange> ranges = LabelledRanges(labels, begins);
  PerThreshold flagged{};
  PerThreshold inside{};
  for (size_t i = 0; i < first.size(); ++i) {
    flagged[first[i]] += 1;
    if (labels[i] != 0) inside[first[i]] += 1;
  }
  AddUp(&flagged);
  AddUp(&inside);
  std::vector<uint8_t> touched;
  touched.reserve(ranges.size());
  for (const LabelledRange& range : ranges) {
    touched.push_back(*std::min_element(first.begin() + range.begin, first.begin() + range.end));
  }
  const std::vector<BufferRow> buffer = BufferRows(ranges, first, window / 2);

  double volume = 0;
  for (uint32_t w = 0; w <= window; ++w) {
    const uint32_t half = w / 2;
    for (size_t i = 0; i < ranges.size() && half > 0 && w % 2 == 0; ++i) {  // one row more on both sides
      const LabelledRange& range = ranges[i];
      if (range.begin - range.entity_begin >= half) touched[i] = std::min(touched[i], first[range.begin - half]);
      if (range.entity_end - range.end >= half) touched[i] = std::min(touched[i], first[range.end - 1 + half]);
    }
    const PerThreshold outside = BufferLabels(buffer, w);
    const PerThreshold share = TouchedShare(ranges, touched, half);
    double last_recall = 0;
    for (int k = 0; k < kThresholds; ++k) {
      const double found = inside[k] + outside[k];
      const double recall = std::min(1.0, found / (positives + outside[k] / 2)) * share[k];
      volume += (recall - last_recall) * found / flagged[k];
      last_recall = recall;
    }
  }
  return volume / (window + 1.0);
}

uint32_t DominantPeriod(std::span<const float> series) {
  constexpr size_t kValues = 20000;
  constexpr size_t kLags = 400;
  constexpr uint32_t kDefault = 125;
  std::vector<double> values;
  for (const float value : series.first(std::min(series.size(), kValues))) {
    values.push_back(!std::isnan(value) ? value : values.empty() ? 0 : values.back());
  }
  const size_t n = values.size();
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / std::max<double>(1, static_cast<double>(n));
  for (double& value : values) value -= mean;
  std::vector<double> correlation;
  for (size_t lag = 0; lag <= kLags && lag < n; ++lag) {
    correlation.push_back(std::inner_product(values.begin(), values.end() - static_cast<ptrdiff_t>(lag),
                                             values.begin() + static_cast<ptrdiff_t>(lag), 0.0));
  }
  size_t best = 0;
  for (size_t lag = 4; lag + 1 < correlation.size(); ++lag) {
    const bool peak = correlation[lag] > correlation[lag - 1] && correlation[lag] > correlation[lag + 1];
    if (peak && (best == 0 || correlation[lag] > correlation[best])) best = lag;
  }
  return best >= 6 && best <= 303 ? static_cast<uint32_t>(best) : kDefault;
}

RangeDetection DetectRanges(std::span<const uint8_t> flagged, std::span<const uint8_t> labels,
                            std::span<const uint32_t> begins) {
  RangeDetection detection;
  std::vector<double> delays;
  for (const LabelledRange& range : LabelledRanges(labels, begins)) {
    ++detection.ranges;
    const auto rows = flagged.subspan(range.begin, range.end - range.begin);
    const auto hit = std::ranges::find_if(rows, [](uint8_t flag) { return flag != 0; });
    if (hit != rows.end()) delays.push_back(static_cast<double>(hit - rows.begin()));
  }
  detection.detected = delays.size();
  std::ranges::sort(delays);
  const size_t count = delays.size();
  detection.delay_mean =
      count == 0 ? kNaN : std::accumulate(delays.begin(), delays.end(), 0.0) / static_cast<double>(count);
  detection.delay_median = count == 0 ? kNaN : (delays[(count - 1) / 2] + delays[count / 2]) / 2;
  return detection;
}

}  // namespace astray
