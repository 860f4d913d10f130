#include "server/message_bytes.h"

#include <grpc/support/log.h>

#include "absl/strings/str_cat.h"
#include "grpcpp/impl/codegen/proto_utils.h"

namespace astray {
namespace {

using Traits = grpc::SerializationTraits<google::protobuf::Message>;

}  // namespace

absl::Status ParseMessage(grpc::ByteBuffer* bytes, google::protobuf::Message* message) {
  const size_t length = bytes->Length();
  if (Traits::Deserialize(bytes, message).ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("message: expected one of type ",
                                                 message->GetDescriptor()->full_name(), ", got ", length,
                                                 " bytes that are none"));
}

grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message) {
  grpc::ByteBuffer bytes;
  bool own = false;
  GPR_ASSERT(Traits::Serialize(message, &bytes, &own).ok());  // of at most 2 GiB
  return bytes;
}

}  // namespace astray
