// grpc.reflection.v1alpha.ServerReflection: the services and the definitions of their messages, out of what protoc has
// compiled into the program, for tools such as grpcurl. Not counted, and no drain waits for its calls: they are cut off
// when the server is shut down.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "server/lane.h"

namespace astray {

// What is streamed comes as bytes (message_bytes.h).
using ReflectionMethods = grpc::reflection::v1alpha::ServerReflection::WithRawMethod_ServerReflectionInfo<
    grpc::reflection::v1alpha::ServerReflection::Service>;

class ReflectionService final : public ReflectionMethods {
 public:
  static constexpr size_t kMaxCalls = 64;  // open at once; then RESOURCE_EXHAUSTED

  // Full names of the services to list.
  explicit ReflectionService(std::vector<std::string> services) : services_(std::move(services)) {}

  // Takes calls from the lane, which must not have been started and whose thread the service must outlive.
  void Post(Lane* lane);

  // The reply to one request. Where that names nothing known, it has an error of code NOT_FOUND; where it asks for
  // nothing or is longer than any name, INVALID_ARGUMENT. Thread-safe.
  grpc::reflection::v1alpha::ServerReflectionResponse Answer(
      const grpc::reflection::v1alpha::ServerReflectionRequest& request) const;

 private:
  class Call;

  const std::vector<std::string> services_;
  size_t calls_ = 0;  // open; of the lane's thread
};

}  // namespace astray
