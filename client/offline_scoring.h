// Scores a CSV with all cores: each thread takes a piece of the file, reads it, scores it and writes its verdicts as
// text. Only what depends on the rows before goes one piece after the other: row numbers and the first windows' rows,
// alarms, and the output.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "astray/v1/service.pb.h"
#include "engine/data/csv_reader.h"
#include "engine/data/row.h"
#include "engine/detect/detector.h"
#include "engine/detect/stream_policy.h"

namespace astray {

// Where verdicts go, in the order of their rows; `row` has no values.
struct VerdictOutput {
  // Called for each, by one thread at a time; or, where it is empty:
  std::function<void(const Row& row, const v1::Verdict& verdict)> consume;
  // Appends the text of a verdict, called by several threads at once,
  std::function<void(const Row& row, const v1::Verdict& verdict, std::string* text)> format;
  // and takes the text of `rows` verdicts, `anomalies` of them anomalous, by one thread at a time.
  std::function<void(absl::string_view text, size_t rows, size_t anomalies)> write;
};

// All rows are one entity's and none has a time: what EntityStreams does for a single stream, with the same bytes.
// The memory is that of some pieces a thread. Errors are the reader's, once all verdicts before have been given.
absl::Status ScoreCsv(const Detector& detector, const StreamPolicy& policy, const ScoreOptions& options,
                      CsvReader* reader, size_t threads, const VerdictOutput& output);

}  // namespace astray
