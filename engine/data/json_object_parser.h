// One JSON object with features by name: what a line of JSON lines is, and a message of a broker.
//
//   {"timestamp": "2026-01-01T00:00:07Z", "flow": 12.5, "pressure": null}
//
// null is a missing value; every feature must be there. Other members are passed over, but for the first that is called
// timestamp, time, datetime, date or ts. The bytes are untrusted: their nesting is capped; whoever calls caps their
// number.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "engine/data/row.h"

namespace astray {

class JsonObjectParser {
 public:
  // `feature_names`: what a row has, in this order. `entity_member`: the member that says whose row it is, a string or
  // a number; empty for none. `segment_member`: the same of its segment; it may be a feature or the entity, too.
  explicit JsonObjectParser(const std::vector<std::string>& feature_names, std::string entity_member = "",
                            std::string segment_member = "");

  // All of the row but its number. InvalidArgument names the feature, for the caller to say where:
  // "'flow': expected a number or null, got "n/a"".
  absl::Status Parse(absl::string_view text, Row* row) const;

 private:
  std::string entity_member_, segment_member_;
  std::vector<std::string> feature_names_;
  std::map<std::string, size_t, std::less<>> positions_;  // of features
};

}  // namespace astray
