// Scores rows once the rows after them are known (engine/detect/hindsight.h): which rows exactly were not normal.
#pragma once

#include <cstddef>

#include "absl/status/status.h"
#include "client/row_messages.h"
#include "client/row_source.h"
#include "engine/detect/detector.h"
#include "engine/detect/stream_policy.h"

namespace astray {

// FailedPrecondition, with the reason, where the model has no hindsight.
absl::Status CheckHindsight(const Detector& detector);

// Entities that are kept: 480 MiB of them, or 256 whatever they take.
size_t HindsightCapacity(size_t features, size_t window);

struct HindsightScoringOptions {
  static constexpr size_t kSliceRows = 4096;  // of one entity, scored at a time

  bool timed = false;                  // timestamps count, where rows have them
  size_t group_rows = 8 * kSliceRows;  // at most so many wait to be scored, of all entities together
};

// Gives `consume` each row of the source with its verdict, which names no features. Each entity's rows are a stream of
// their own; its windows, the order of its rows, late and repeated ones, pauses that begin a new stream and alarms are
// as in live scoring (detect/entity_streams.h). A stream with fewer rows than a window is WARMING_UP.
//
// A row comes out once it is settled, up to five windows later, each entity's in their order. So memory does not depend
// on the number of rows: an entity takes some 30 bytes a value and 600 bytes a row of a window, and of what waits to be
// scored there is at most one group. Of more entities than HindsightCapacity, those silent longest are settled: their
// next row begins a new stream.
//
// One thread; each row goes through the network once. Errors are the source's, once what was settled by then has been
// given, and InvalidArgument for a name that is too long or a timestamp that is none. The model must have hindsight.
absl::Status ScoreInHindsight(const Detector& detector, const StreamPolicy& policy,
                              const HindsightScoringOptions& options, RowSource* source, const ConsumeVerdict& consume);

}  // namespace astray
