// A table of float32 features, with the optional columns that are not features. In memory, or the large parts of it in
// scratch files (CsvOptions::scratch).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/scratch_vector.h"
#include "engine/data/entity_column.h"

namespace astray {

struct Dataset {
  std::vector<std::string> feature_names;
  ScratchVector<float> values;          // rows x features, row-major; NaN is missing
  std::vector<std::string> timestamps;  // one a row, as written; empty where the data has none, or they are not kept
  ScratchVector<double> seconds;        // instead of them: one a row, Unix time, NaN where it cannot be read
  bool timed = false;                   // the rows have times, kept or not
  EntityColumn entities;                // one a row, whose it is; empty where the data does not say
  EntityColumn segments;                // one a row, which of a calibration's it is of, "" for none; may be empty
  std::vector<uint8_t> labels;          // one a row, 1 is anomalous; empty where the data has none
  std::vector<std::string> culprits;    // one a row, "flow;pressure", names of truly faulty features; may be empty

  std::optional<size_t> left_out;  // rows labelled as anomalies that a reader left out, where it looked for such

  size_t features() const { return feature_names.size(); }
  size_t rows() const { return features() == 0 ? 0 : values.size() / features(); }
  bool has_times() const { return timed || !timestamps.empty(); }
  // Drops the rows labelled as anomalies, which teach nothing about what is normal, and the labels. Returns how many.
  size_t DropAnomalies();
  // Brings each entity's rows together, in their order, the entities in the order of their first rows. Errors are those
  // of a scratch; nothing has changed then.
  absl::Status GroupByEntity();
  std::span<const float> row(size_t i) const { return {values.data() + i * features(), features()}; }
};

}  // namespace astray
