#include "server/message_bytes.h"

#include <grpc/support/log.h>

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "grpcpp/impl/codegen/proto_utils.h"

namespace astray {

absl::Status ParseMessage(grpc::ByteBuffer* bytes, google::protobuf::Message* message) {
  const size_t length = bytes->Length();
  if (grpc::SerializationTraits<google::protobuf::Message>::Deserialize(bytes, message).ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("message: expected one of type ",
                                                 message->GetDescriptor()->full_name(), ", got ", length,
                                                 " bytes that are none"));
}

grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message, absl::string_view before) {
  const size_t size = before.size() + message.ByteSizeLong();
  GPR_ASSERT(size <= size_t{std::numeric_limits<int>::max()});
  grpc_slice slice = grpc_slice_malloc(size);
  message.SerializeWithCachedSizesToArray(std::ranges::copy(before, GRPC_SLICE_START_PTR(slice)).out);
  const grpc::Slice owned(slice, grpc::Slice::STEAL_REF);
  return grpc::ByteBuffer(&owned, 1);
}

}  // namespace astray
