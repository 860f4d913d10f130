// Reads protobuf text format written by people.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "google/protobuf/message.h"

namespace astray {

// InvalidArgument names the place: "server.textproto:3:1: Message type ... has no field named \"prot\"."
absl::Status ParseTextProto(const std::string& text, const std::string& file_name, google::protobuf::Message* message);

}  // namespace astray
