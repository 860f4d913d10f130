// Which rows teach, which stop the training and which calibrate. The three never share a row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/recipe.pb.h"
#include "engine/base/scratch_vector.h"

namespace astray {

// Rows [begin, begin + rows) of the ordered data.
struct Segment {
  size_t begin = 0;
  size_t rows = 0;
};

struct DataSplit {
  // Position in the data of each row, as the segments count them: a seeded shuffle; empty where it is the rows' own
  // order, which is time.
  ScratchVector<uint32_t> order;
  std::vector<Segment> training, validation, calibration;
};

// Time-ordered rows are cut into contiguous blocks (training, validation, calibration; over again in long data, so
// that each part sees every period); a window never spans two blocks. Others are shuffled.
// `recipe` is complete. InvalidArgument where there are too few rows: "data: expected at least 67 rows ..., got 12".
// run_begins: rows (RunBegins) at which segments are cut, so that no window spans two runs; for time-ordered rows.
// scratch: for the order; its errors too.
// apart: rows, ascending; what begins in each of them is split by itself, where it is long enough for parts of the
// shares asked for, else together with what follows. For time-ordered rows that one entity's follow another's: else
// whole entities may have no row held out.
absl::StatusOr<DataSplit> SplitData(const v1::Recipe& recipe, size_t rows, bool time_ordered,
                                    std::span<const uint32_t> run_begins = {}, const Scratch& scratch = {},
                                    std::span<const uint32_t> apart = {});

}  // namespace astray
