// How well scores find labelled ranges of a time series, rather than labelled rows. Rows are in time order, labels: one
// a row, 1 is anomalous. `begins`: the first row of each entity, ascending from 0; empty is one entity. No range and no
// buffer crosses from one entity to the next.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace astray {

// Adjacent anomalous rows of one entity.
struct LabelledRange {
  uint32_t begin = 0;
  uint32_t end = 0;           // one past its last row
  uint32_t entity_begin = 0;  // rows of its entity
  uint32_t entity_end = 0;
};

std::vector<LabelledRange> LabelledRanges(std::span<const uint8_t> labels, std::span<const uint32_t> begins = {});

// VUS-PR, the volume under the precision-recall surface: Paparrizos, Boniol, Palpanas, Tsay, Elmore, Franklin, "Volume
// Under the Surface: A New Accuracy Evaluation Measure for Time-Series Anomaly Detection", PVLDB 15(11), 2022. It
// forgives an alarm a few rows beside a range and rewards touching every range. The mean over w = 0 .. window of the
// area under
//
//     precision(t) = TP / flagged rows       recall(t) = min(1, TP / ((P + N) / 2)) * E
//
// over 250 thresholds t, which are the scores of ranks 0 .. n - 1 in equal steps, as the authors' program takes them.
// Rows with score >= t are flagged. P: anomalous rows. A row at distance d <= w / 2 (integers) outside a range has the
// label sqrt(1 - d / w); of several ranges' labels the sum, at most 1; a row of a range has 1. TP: the sum of flagged
// rows' labels. N: P and the labels of flagged rows outside ranges. E: the share of ranges with a flagged row, each
// widened by w / 2 on both sides and merged with those that it then meets. The area is the sum of precision times the
// step in recall.
//
// window: that of DominantPeriod, usually. Scores hold no NaN. NaN where a class is missing. Time: O(n log n + n
// window).
double VusPr(std::span<const float> scores, std::span<const uint8_t> labels, uint32_t window,
             std::span<const uint32_t> begins = {});

// The window that VUS-PR is usually measured with: the lag of the highest local maximum of the autocorrelation of the
// first 20,000 values, among lags 4 .. 399; 125 where there is none or it is outside 6 .. 303 (TSB-UAD's rule;
// Paparrizos et al., PVLDB 15(8), 2022). A value that is NaN counts as the one before it.
uint32_t DominantPeriod(std::span<const float> series);

// How soon ranges are noticed. flagged: one a row, beside the labels.
struct RangeDetection {
  uint64_t ranges = 0;
  uint64_t detected = 0;  // with a flagged row
  // Of those detected: rows from a range's first row to its first flagged row; 0 where that is the first. NaN without
  // any.
  double delay_mean = 0;
  double delay_median = 0;  // of an even number, the mean of the middle two
};

RangeDetection DetectRanges(std::span<const uint8_t> flagged, std::span<const uint8_t> labels,
                            std::span<const uint32_t> begins = {});

}  // namespace astray
