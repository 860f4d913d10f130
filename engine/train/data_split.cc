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
                                    std::span<const uint32_t> run_begins, const Scratch& scratch) {
  const size_t window = recipe.features().window();
  const size_t smallest = 4 * (window + kMinVectors - 1);
  if (rows < smallest) {
    return absl::InvalidArgumentError(absl::StrCat("data: expected at least ", smallest,
                                                   " rows to train, validate and calibrate on windows of ", window,
                                                   window == 1 ? " row" : " rows", ", got ", rows));
  }
  DataSplit split;
  size_t blocks = 1;
  if (time_ordered || window > 1) {
    blocks = std::clamp<size_t>(rows / (kMinWindowsInBlock * window), 1, kMaxBlocks);
  } else {
    split.order = ScratchVector<uint32_t>(scratch);
    RETURN_IF_ERROR(split.order.Reserve(rows));
    const std::span<uint32_t> order = split.order.Extend(rows);
    std::iota(order.begin(), order.end(), 0u);
    Random(recipe.seed(), kSplitStream).Shuffle(order);
  }
  for (size_t block = 0; block < blocks; ++block) {
    const size_t begin = rows * block / blocks, end = rows * (block + 1) / blocks;
    const size_t validation = PartRows(recipe.training().validation_fraction(), end - begin, window);
    const size_t calibration = PartRows(recipe.calibration().holdout_fraction(), end - begin, window);
    if (validation + calibration + window + kMinVectors - 1 > end - begin) {
      return absl::InvalidArgumentError(
          absl::StrCat("data: training.validation_fraction and calibration.holdout_fraction leave too few of the ",
                       rows, " rows to train on"));
    }
    const size_t training = end - begin - validation - calibration;
    split.training.push_back({begin, training});
    split.validation.push_back({begin + training, validation});
    split.calibration.push_back({begin + training + validation, calibration});
  }
  if (!run_begins.empty() && (time_ordered || window > 1)) {
    for (std::vector<Segment>* part : {&split.training, &split.validation, &split.calibration}) {
      RETURN_IF_ERROR(CutAtRuns(run_begins, window, part));
    }
  }
  return split;
}

}  // namespace astray
