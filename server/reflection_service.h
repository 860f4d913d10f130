// grpc.reflection.v1alpha.ServerReflection: the services and the definitions of their messages, out of what protoc has
// compiled into the program, for tools such as grpcurl. Not counted, and no drain waits for its calls: they are cut off
// when the server is shut down.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "server/lane.h"

namespace astray {

class ReflectionService final : public grpc::reflection::v1alpha::ServerReflection::AsyncService {
 public:
  // Full names of the services to list.
  explicit ReflectionService(std::vector<std::string> services) : services_(std::move(services)) {}

  // Takes calls from the lane, which must not have been started and whose thread the service must outlive.
  void Post(Lane* lane);

  // The reply to one request. Where that names nothing known, it has an error of code NOT_FOUND; where it asks for
  // nothing or is longer than any name, INVALID_ARGUMENT. Thread-safe.
  grpc::reflection::v1alpha::ServerReflectionResponse Answer(
      const grpc::reflection::v1alpha::ServerReflectionRequest& request) const;

 private:
  const std::vector<std::string> services_;
};

}  // namespace astray
