// Our statuses as gRPC's.
#pragma once

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace astray {

// The same code. The message is cut where it would not fit into a client's limit for trailing metadata.
grpc::Status ToGrpcStatus(const absl::Status& status);

// "NOT_FOUND", as gRPC's documentation spells it; "UNKNOWN" for a code that it does not know.
const char* StatusCodeName(grpc::StatusCode code);

inline constexpr int kStatusCodes = 17;  // 0 to UNAUTHENTICATED

}  // namespace astray
