// One row of features as a reader gives it, whatever the format; valid until the reader's next call.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace astray {

struct Row {
  uint64_t number = 0;        // 1 is the first row (of a CSV: after the header)
  std::vector<float> values;  // in the order of the reader's features; NaN is missing
  std::string timestamp;      // as written; empty where the data has none
  std::string entity;         // whose row it is; empty where the data does not say
  std::string segment;        // which of a calibration's segments it is of; empty where the data does not say
  uint8_t label = 0;          // 1 is anomalous
  std::string culprits;       // "flow;pressure", names of truly faulty features
};

}  // namespace astray
