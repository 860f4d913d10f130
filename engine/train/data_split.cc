#include "engine/train/data_split.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/random.h"
#include "engine/base/status_macros.h"
#include "engine/train/random_streams.h"

namespace astray {
namespace {

// Vectors that each part has at least.
constexpr size_t kMinVectors = 10;
// A block is at least this many windows long: each loses a window's rows at its border.
constexpr size_t kMinWindowsInBlock = 100;
constexpr size_t kMaxBlocks = 10;

size_t PartRows(double fraction, size_t rows, size_t window) {
  const size_t wanted = static_cast<size_t>(std::lround(fraction * static_cast<double>(rows)));
  return std::max(wanted, window + kMinVectors - 1);
}

// SplitData's `apart`.
std::vector<Segment> RangesApart(const v1::Recipe& recipe, size_t rows, std::span<const uint32_t> apart) {
  const double validation = recipe.training().validation_fraction(),
               calibration = recipe.calibration().holdout_fraction();
  const double smallest_share = std::min({validation, calibration, 1 - validation - calibration});
  const auto part = static_cast<double>(recipe.features().window() + kMinVectors - 1);
  std::vector<Segment> ranges;
  size_t begin = 0;
  for (const uint32_t end : apart) {
    if (static_cast<double>(end - begin) * smallest_share < part) continue;
    ranges.push_back({begin, end - begin});
    begin = end;
  }
  if (ranges.empty() || static_cast<double>(rows - begin) * smallest_share >= part) {
    ranges.push_back({begin, rows - begin});
  } else {
    ranges.back().rows += rows - begin;
  }
  return ranges;
}

// Cuts the segments where runs begin. InvalidArgument where too few windows are left.
absl::Status CutAtRuns(std::span<const uint32_t> run_begins, size_t window, std::vector<Segment>* segments) {
  std::vector<Segment> cut;
  size_t windows = 0;
  for (const Segment& segment : *segments) {
    const size_t end = segment.begin + segment.rows;
    for (size_t begin = segment.begin; begin < end;) {
      const auto next = std::ranges::upper_bound(run_begins, begin);
      const size_t run_end = next == run_begins.end() ? end : std::min<size_t>(end, *next);
      cut.push_back({begin, run_end - begin});
      if (run_end - begin >= window) windows += run_end - begin - window + 1;
      begin = run_end;
    }
  }
  if (windows < kMinVectors) {
    return absl::InvalidArgumentError(absl::StrCat(
        "data: expected runs of rows, of one entity and between two pauses, that windows of ", window,
        " rows fit in, got ", windows, " windows where ", kMinVectors, " are needed: a smaller features.window"));
  }
  *segments = std::move(cut);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DataSplit> SplitData(const v1::Recipe& recipe, size_t rows, bool time_ordered,
                                    std::span<const uint32_t> run_begins, const Scratch& scratch,
                                    std::span<const uint32_t> apart) {
  const size_t window = recipe.features().window();
  const size_t smallest = 4 * (window + kMinVectors - 1);
  if (rows < smallest) {
    return absl::InvalidArgumentError(absl::StrCat("data: expected at least ", smallest,
                                                   " rows to train, validate and calibrate on windows of ", window,
                                                   window == 1 ? " row" : " rows", ", got ", rows));
  }
  DataSplit split;
  const bool ordered = time_ordered || window > 1;
  if (!ordered) {
    split.order = ScratchVector<uint32_t>(scratch);
    RETURN_IF_ERROR(split.order.Reserve(rows));
    const std::span<uint32_t> order = split.order.Extend(rows);
    std::iota(order.begin(), order.end(), 0u);
    Random(recipe.seed(), kSplitStream).Shuffle(order);
  }
  const auto add_block = [&](size_t begin, size_t end) {
    const size_t validation = PartRows(recipe.training().validation_fraction(), end - begin, window);
    const size_t calibration = PartRows(recipe.calibration().holdout_fraction(), end - begin, window);
    if (validation + calibration + window + kMinVectors - 1 > end - begin) return false;
    const size_t training = end - begin - validation - calibration;
    split.training.push_back({begin, training});
    split.validation.push_back({begin + training, validation});
    split.calibration.push_back({begin + training + validation, calibration});
    return true;
  };
  for (const Segment& range : RangesApart(recipe, rows, ordered ? apart : std::span<const uint32_t>())) {
    const size_t blocks = ordered ? std::clamp<size_t>(range.rows / (kMinWindowsInBlock * window), 1, kMaxBlocks) : 1;
    for (size_t block = 0; block < blocks; ++block) {
      if (add_block(range.begin + range.rows * block / blocks, range.begin + range.rows * (block + 1) / blocks)) {
        continue;
      }
      return absl::InvalidArgumentError(
          absl::StrCat("data: training.validation_fraction and calibration.holdout_fraction leave too few of the ",
                       rows, " rows to train on"));
    }
  }
  if (!run_begins.empty() && ordered) {
    for (std::vector<Segment>* part : {&split.training, &split.validation, &split.calibration}) {
      RETURN_IF_ERROR(CutAtRuns(run_begins, window, part));
    }
  }
  return split;
}

}  // namespace astray
