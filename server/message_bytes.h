// Messages as bytes, which is how calls are read and written here. Where gRPC parses a message itself, one that is none
// looks like the end of the stream, and what came before it like all that the client meant; of a unary call it is an
// error of the server. And gRPC's own way of writing a small message takes as long as scoring it.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "grpcpp/support/byte_buffer.h"

namespace astray {

// Leaves no bytes. InvalidArgument: "message: expected one of type astray.v1.CalibrateRequest, got 3
// bytes that are none".
absl::Status ParseMessage(grpc::ByteBuffer* bytes, google::protobuf::Message* message);

// Of at most 2 GiB. `before` is bytes of fields that the message has not, and that come before all of its own.
grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message, absl::string_view before = {});

}  // namespace astray
