// What to make of a CSV's columns, and how much of it to take.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "engine/base/scratch_file.h"

namespace astray {

struct CsvOptions {
  std::string timestamp_column;  // default: a column named timestamp, time, datetime, date or ts (any case)
  std::string label_column;      // default: none. Values 0/1, true/false, normal/anomaly
  bool find_labels = false;    // without label_column: a column named label (any case) has them, unless it is a feature
  std::string culprit_column;  // default: none
  std::string entity_column;   // default: none
  std::string segment_column;  // default: none. It may have another role, too: entity, feature
  // Columns read as text and dropped.
  std::vector<std::string> ignore_columns;
  // If set: exactly these features, in this order, picked by name; other columns are dropped.
  // A missing one is an error that lists it and the columns that the file has.
  std::vector<std::string> feature_names;
  size_t max_line_bytes = 1 << 20;
  size_t max_columns = 1 << 16;
  int stop_fd = -1;     // ByteSource's
  bool follow = false;  // the same. A line equal to the header, a new file's first, is passed over

  // For ReadCsv; a CsvReader keeps one row.
  // rows x features, four bytes of text kept counting as one more; 1 GiB. With a scratch only text counts: numbers are
  // bounded by the disk and by kMaxScratchRows.
  size_t max_values = size_t{1} << 28;
  static constexpr size_t kMaxScratchRows = (size_t{1} << 32) - 1;
  enum class Times { kText, kSeconds, kPresence };
  Times times = Times::kText;  // what the dataset has of the rows' times: timestamps, seconds, or neither
  bool normal_only = false;    // rows labelled as anomalies are left out, and so are the labels
  Scratch scratch;
};

}  // namespace astray
