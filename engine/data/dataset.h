// A table of float32 features in memory, with the optional columns that are not features.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace astray {

struct Dataset {
  std::vector<std::string> feature_names;
  std::vector<float> values;            // rows x features, row-major; NaN is missing
  std::vector<std::string> timestamps;  // one a row, as written; empty where the data has none
  std::vector<std::string> entities;    // one a row, whose it is; empty where the data does not say
  std::vector<uint8_t> labels;          // one a row, 1 is anomalous; empty where the data has none
  std::vector<std::string> culprits;    // one a row, "flow;pressure", names of truly faulty features; may be empty

  size_t features() const { return feature_names.size(); }
  size_t rows() const { return features() == 0 ? 0 : values.size() / features(); }
  // Drops the rows labelled as anomalies, which teach nothing about what is normal, and the labels. Returns how many.
  size_t DropAnomalies();
  // Brings each entity's rows together, in their order, the entities in the order of their first rows.
  void GroupByEntity();
  std::span<const float> row(size_t i) const { return {values.data() + i * features(), features()}; }
};

}  // namespace astray
