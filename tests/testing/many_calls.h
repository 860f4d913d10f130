// Unary calls that a client has open at the same time, without a thread for each.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>

#include "grpcpp/grpcpp.h"

namespace astray {

template <typename Response>
class ManyCalls {
 public:
  // `start(context, queue)` starts a call: a stub's AsyncMethod.
  template <typename Start>
  ManyCalls(size_t calls, const Start& start) : calls_(calls) {
    for (Call& call : calls_) {
      call.reader = start(&call.context, &queue_);
      call.reader->Finish(&call.response, &call.status, &call);
    }
  }
  // Waits for those that have not ended.
  ~ManyCalls() {
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  // Of the call that ends next.
  grpc::Status NextStatus() {
    void* tag = nullptr;
    bool ok = false;
    const auto deadline = std::chrono::system_clock::now() + std::chrono::seconds(60);
    if (queue_.AsyncNext(&tag, &ok, deadline) != grpc::CompletionQueue::GOT_EVENT) {
      return {grpc::UNKNOWN, "no call ended"};
    }
    return static_cast<Call*>(tag)->status;
  }

 private:
  struct Call {
    grpc::ClientContext context;
    Response response;
    grpc::Status status;
    std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> reader;
  };

  grpc::CompletionQueue queue_;
  std::deque<Call> calls_;
};

}  // namespace astray
