// A client's side of a call of any method, in bytes: what no generated stub would send.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"

namespace astray {

class RawCall {
 public:
  // Such as "/astray.v1.DetectionService/Calibrate".
  RawCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& method) {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    call_ = grpc::GenericStub(channel).PrepareCall(&context_, method, &queue_);
    call_->StartCall(this);
    Await();
  }
  ~RawCall() {
    context_.TryCancel();
    if (!finished_) Finish();
    queue_.Shutdown();
    Await();
  }

  bool Write(const std::string& bytes) {
    const grpc::Slice slice(bytes);
    call_->Write(grpc::ByteBuffer(&slice, 1), this);
    return Await();
  }
  // False at the end of the replies.
  bool Read(std::string* reply) {
    grpc::ByteBuffer bytes;
    call_->Read(&bytes, this);
    if (!Await()) return false;
    std::vector<grpc::Slice> slices;
    if (!bytes.Dump(&slices).ok()) return false;
    reply->clear();
    for (const grpc::Slice& slice : slices) reply->append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    return true;
  }
  bool WritesDone() {
    call_->WritesDone(this);
    return Await();
  }
  // What the call ended with; messages that were not read are dropped.
  grpc::Status Finish() {
    std::string reply;
    while (Read(&reply)) {
    }
    grpc::Status status;
    call_->Finish(&status, this);
    Await();
    finished_ = true;
    return status;
  }

 private:
  bool Await() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }

  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
  bool finished_ = false;
};

}  // namespace astray
