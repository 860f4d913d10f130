// The rare unary methods of a service on one lane. Each call passes the gate, is counted and goes to its method's
// handler, on the lane's thread; what may take long, the handler gives to another thread. Of the calls that wait for
// that there are at most kMaxCalls of a method, and their requests are bounded together.
//
//   methods.Post<ListModelsRequest, ListModelsResponse>(
//       lane, Method::kListModels, service, &Service::RequestListModels,
//       [](auto* slot, const UnaryDone& done) { done(List(slot->request(), slot->response())); });
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/base/status_macros.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/call_gate.h"
#include "server/lane.h"
#include "server/metrics.h"
#include "server/serial_executor.h"
#include "server/status.h"
#include "server/unary_slots.h"

namespace astray {

// Sends the reply, or the error. Once for each call, from any thread; the slot is not the caller's any more.
using UnaryDone = std::function<void(absl::Status)>;

template <typename Request, typename Response>
using UnaryHandler = std::function<void(typename UnarySlots<Request, Response>::Slot* slot, const UnaryDone& done)>;

template <typename Request, typename Response>
class UnaryMethod final : public UnarySlots<Request, Response> {
 public:
  // Of the method, not yet answered; then RESOURCE_EXHAUSTED.
  static constexpr size_t kMaxCalls = 1024;
  static constexpr size_t kMaxRequestBytes = size_t{64} << 20;  // of them together, or one request

  using typename UnarySlots<Request, Response>::Slot;
  using typename UnarySlots<Request, Response>::Writer;
  // Asks gRPC for a call of the method.
  using Asker =
      std::function<void(grpc::ServerContext* context, grpc::ByteBuffer* request, Writer* writer, LaneTag* tag)>;

  // All must outlive the lane's thread.
  UnaryMethod(Lane* lane, CallGate* gate, Metrics* metrics, Method method, Asker ask,
              UnaryHandler<Request, Response> handler)
      : UnarySlots<Request, Response>(lane),
        gate_(gate),
        metrics_(metrics),
        method_(method),
        ask_(std::move(ask)),
        handler_(std::move(handler)) {}

 private:
  void Post(grpc::ServerContext* context, grpc::ByteBuffer* request, Writer* writer, LaneTag* tag) override {
    ask_(context, request, writer, tag);
  }
  void Handle(Slot* slot) override {
    const absl::Status admitted = Admit(slot);
    const UnaryDone done = [this, slot, began = absl::Now()](const absl::Status& status) {
      const grpc::Status reply = ToGrpcStatus(status);
      metrics_->RecordDuration(method_, absl::Now() - began);
      metrics_->RecordRequest(method_, reply.error_code());
      slot->Finish(reply);
    };
    if (admitted.ok()) {
      handler_(slot, done);
    } else {
      done(admitted);
    }
  }
  void Settled(Slot* slot) override {
    if (!slot->admitted) return;
    gate_->Leave();
    --calls_;
    request_bytes_ -= slot->request_bytes();
  }
  absl::Status Admit(Slot* slot) {
    slot->admitted = false;
    RETURN_IF_ERROR(slot->parsed());
    if (calls_ >= kMaxCalls) {
      return absl::ResourceExhaustedError(absl::StrCat(kMaxCalls, " calls of this method wait already; retry later"));
    }
    const size_t bytes = slot->request_bytes();
    if (calls_ > 0 && request_bytes_ + bytes > kMaxRequestBytes) {
      return absl::ResourceExhaustedError(absl::StrCat("the calls of this method that wait have ", request_bytes_,
                                                       " of ", kMaxRequestBytes, " bytes, this one has ", bytes,
                                                       "; retry later"));
    }
    if (!gate_->Enter()) return absl::UnavailableError("the server is shutting down");
    slot->admitted = true;
    ++calls_;
    request_bytes_ += bytes;
    return absl::OkStatus();
  }
  bool IsSmall(size_t /*request_bytes*/, const Response& /*response*/) const override { return false; }

  CallGate* const gate_;
  Metrics* const metrics_;
  const Method method_;
  const Asker ask_;
  const UnaryHandler<Request, Response> handler_;
  size_t calls_ = 0, request_bytes_ = 0;  // admitted, not yet settled
};

class UnaryMethods {
 public:
  static constexpr size_t kPosted = 4;  // of each method; each call that comes has another one wait

  // Both must outlive the lanes' threads, as must this.
  UnaryMethods(CallGate* gate, Metrics* metrics) : gate_(gate), metrics_(metrics) {}

  // The generated Request function of a method whose messages are bytes.
  template <typename Owner>
  using Ask = void (Owner::*)(grpc::ServerContext*, grpc::ByteBuffer*,
                              grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>*, grpc::CompletionQueue*,
                              grpc::ServerCompletionQueue*, void*);

  // Before the lane starts, once the server is built.
  template <typename Request, typename Response, typename Service, typename Owner>
  void Post(Lane* lane, Method method, Service* service, Ask<Owner> ask, UnaryHandler<Request, Response> handler) {
    auto posted = std::make_shared<UnaryMethod<Request, Response>>(
        lane, gate_, metrics_, method,
        [service, ask, lane](auto* context, auto* request, auto* writer, LaneTag* tag) {
          (service->*ask)(context, request, writer, lane->queue(), lane->queue(), tag);
        },
        std::move(handler));
    posted->PostAll(kPosted);
    posted_.push_back(std::move(posted));
  }

  // The same, with `work` done by the executor, unless the caller is gone by then: it wants no change any more.
  template <typename Request, typename Response, typename Service, typename Owner>
  void PostOn(SerialExecutor* executor, Lane* lane, Method method, Service* service, Ask<Owner> ask,
              std::function<absl::Status(const Request&, Response*)> work) {
    Post<Request, Response>(lane, method, service, ask,
                            [executor, work = std::move(work)](auto* slot, const UnaryDone& done) {
                              executor->Add([&work, slot, done] {
                                done(slot->cancelled().load() ? absl::CancelledError("cancelled")
                                                              : work(slot->request(), slot->response()));
                              });
                            });
  }

 private:
  CallGate* const gate_;
  Metrics* const metrics_;
  std::vector<std::shared_ptr<const void>> posted_;  // UnaryMethods of any messages
};

}  // namespace astray
