#include "client/mqtt_address.h"

#include <mosquitto.h>

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/command.h"
#include "engine/base/shown_text.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

constexpr absl::string_view kScheme = "mqtt://";

// Reads one URL for one flag.
class Parser {
 public:
  explicit Parser(absl::string_view flag) : flag_(flag) {}

  absl::StatusOr<MqttAddress> Parse(absl::string_view url) const {
    MqttAddress address;
    if (!absl::ConsumePrefix(&url, kScheme)) return Wrong("URL", "one that begins with mqtt://", url);
    const size_t slash = url.find('/');
    if (slash == absl::string_view::npos) return Wrong("topic", "one after host and slash", "none");
    RETURN_IF_ERROR(ParsePlace(url.substr(0, slash), &address));
    const std::pair<absl::string_view, absl::string_view> rest =
        absl::StrSplit(url.substr(slash + 1), absl::MaxSplits('?', 1));
    ASSIGN_OR_RETURN(address.topic, Decode("topic", rest.first));
    for (const absl::string_view part : absl::StrSplit(rest.second, '&', absl::SkipEmpty())) {
      RETURN_IF_ERROR(ParseOption(part, &address));
    }
    return address;
  }

  absl::Status Wrong(absl::string_view part, absl::string_view expected, absl::string_view got) const {
    return UsageError(absl::StrCat(flag_, ": mqtt ", part, ": expected ", expected, ", got \"", ShownText(got), "\""));
  }

 private:
  absl::StatusOr<std::string> Decode(absl::string_view part, absl::string_view text) const {
    std::string decoded;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '%') {
        decoded += text[i];
        continue;
      }
      if (i + 2 >= text.size() || !absl::ascii_isxdigit(text[i + 1]) || !absl::ascii_isxdigit(text[i + 2])) {
        return Wrong(part, "two hexadecimal digits after each %", part == "password" ? "others" : text);
      }
      decoded += absl::HexStringToBytes(text.substr(i + 1, 2));
      i += 2;
    }
    if (decoded.find('\0') != std::string::npos) return Wrong(part, "text", "a NUL byte");
    return decoded;
  }

  absl::Status ParsePlace(absl::string_view place, MqttAddress* address) const {
    const size_t at = place.rfind('@');
    if (at != absl::string_view::npos) {
      const std::pair<absl::string_view, absl::string_view> user =
          absl::StrSplit(place.substr(0, at), absl::MaxSplits(':', 1));
      ASSIGN_OR_RETURN(address->user, Decode("user", user.first));
      ASSIGN_OR_RETURN(address->password, Decode("password", user.second));
      if (address->user.empty()) return Wrong("user", "a name before @", "none");
      place.remove_prefix(at + 1);
    }
    // The last colon, but not one within [::1].
    const size_t colon = place.rfind(':');
    absl::string_view host = place;
    if (colon != absl::string_view::npos && !absl::StrContains(place.substr(colon), ']')) {
      host = place.substr(0, colon);
      int port = 0;
      if (!absl::SimpleAtoi(place.substr(colon + 1), &port) || port < 1 || port > 65535) {
        return Wrong("port", "a number from 1 to 65535", place.substr(colon + 1));
      }
      address->port = static_cast<uint16_t>(port);
    }
    if (absl::ConsumePrefix(&host, "[") && !absl::ConsumeSuffix(&host, "]")) {
      return Wrong("host", "a closing bracket", place);
    }
    address->host = std::string(host);
    return host.empty() ? Wrong("host", "a name", "none") : absl::OkStatus();
  }

  absl::Status ParseOption(absl::string_view part, MqttAddress* address) const {
    const std::pair<absl::string_view, absl::string_view> option = absl::StrSplit(part, absl::MaxSplits('=', 1));
    const auto& [name, value] = option;
    const bool source = flag_ == "--source";
    if (name == "client-id") {
      ASSIGN_OR_RETURN(address->client_id, Decode(name, value));
      if (address->client_id.empty()) return Wrong(name, "a name", "none");
    } else if (source && name == "group") {
      ASSIGN_OR_RETURN(address->group, Decode(name, value));
      if (address->group.empty() || address->group.find_first_of("/+#") != std::string::npos) {
        return Wrong(name, "a name without /, + and #", value);
      }
    } else if (source && name == "entity") {
      if (value != "topic") return Wrong(name, "topic", value);
      address->entity_from_topic = true;
    } else {
      return Wrong("option", source ? "client-id, group or entity" : "client-id", name);
    }
    return absl::OkStatus();
  }

  absl::string_view flag_;
};

}  // namespace

bool IsMqttUrl(absl::string_view text) { return absl::StartsWith(text, kScheme); }

absl::StatusOr<MqttAddress> ParseMqttSource(absl::string_view url) {
  const Parser parser("--source");
  ASSIGN_OR_RETURN(MqttAddress address, parser.Parse(url));
  if (mosquitto_sub_topic_check(address.topic.c_str()) != MOSQ_ERR_SUCCESS || address.topic.empty()) {
    return parser.Wrong("topic", "one that can be subscribed to, + for one level and # for all below", address.topic);
  }
  return address;
}

absl::StatusOr<MqttAddress> ParseMqttSink(absl::string_view url) {
  const Parser parser("--sink");
  ASSIGN_OR_RETURN(MqttAddress address, parser.Parse(url));
  if (mosquitto_pub_topic_check(address.topic.c_str()) != MOSQ_ERR_SUCCESS || address.topic.empty()) {
    return parser.Wrong("topic", "one without + and #", address.topic);
  }
  return address;
}

}  // namespace astray
