// Which broker, and what of it:
//
//   mqtt://[user:password@]host[:port]/topic/with/slashes[?client-id=name&group=name&entity=topic]
//
// Parts may be percent-encoded; a topic's # is its wildcard. group and entity are a source's, and so are wildcards.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace astray {

struct MqttAddress {
  std::string host;
  uint16_t port = 1883;
  std::string user, password;
  std::string topic;
  std::string client_id;           // empty: any, of no consequence for the broker
  std::string group;               // workers that split a topic; empty: none
  bool entity_from_topic = false;  // a row's topic says whose it is

  std::string place() const { return absl::StrCat(host, ":", port); }
  std::string subscription() const { return group.empty() ? topic : absl::StrCat("$share/", group, "/", topic); }
};

bool IsMqttUrl(absl::string_view text);  // by its scheme

// Usage errors that name the flag and the part, and do not show passwords:
// "--source: mqtt port: expected a number from 1 to 65535, got "x"".
absl::StatusOr<MqttAddress> ParseMqttSource(absl::string_view url);
absl::StatusOr<MqttAddress> ParseMqttSink(absl::string_view url);

}  // namespace astray
