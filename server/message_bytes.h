// Messages as bytes, which is how calls are read and written here. Where gRPC parses a message itself, one that is none
// looks like the end of the stream, and what came before it like all that the client meant; of a unary call it is an
// error of the server. And gRPC's own way of writing a small message takes as long as scoring it.
#pragma once

#include "absl/status/status.h"
#include "google/protobuf/message.h"
#include "grpcpp/support/byte_buffer.h"

namespace astray {

// Leaves no bytes. InvalidArgument: "message: expected one of type astray.v1.CalibrateRequest, got 3
// bytes that are none".
absl::Status ParseMessage(grpc::ByteBuffer* bytes, google::protobuf::Message* message);

grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message);  // of at most 2 GiB

}  // namespace astray
