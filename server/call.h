// What every call does, whatever its reactor: passes the gate, counts itself, says whether it was cancelled.
#pragma once

#include <atomic>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "grpcpp/support/server_callback.h"
#include "server/call_gate.h"
#include "server/metrics.h"
#include "server/status.h"

namespace astray {

class Call {
 public:
  Call(CallGate* gate, Metrics* metrics, Method method)
      : gate_(gate), metrics_(metrics), method_(method), entered_(gate->Enter()), began_(absl::Now()) {}
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  ~Call() {
    if (entered_) gate_->Leave();
  }

  // Unavailable where a drain has begun: the call must be finished with it.
  absl::Status Admitted() const {
    return entered_ ? absl::OkStatus() : absl::UnavailableError("the server is shutting down");
  }

  // Counts the call by how it ends; gives what to Finish it with.
  grpc::Status End(const absl::Status& status) {
    grpc::Status reply = ToGrpcStatus(status);
    metrics_->RecordRequest(method_, reply.error_code());
    return reply;
  }
  void RecordDuration() { metrics_->RecordDuration(method_, absl::Now() - began_); }

  void Cancel() { cancelled_->store(true, std::memory_order_relaxed); }
  const std::shared_ptr<std::atomic<bool>>& cancelled() const { return cancelled_; }

 private:
  CallGate* gate_;
  Metrics* metrics_;
  Method method_;
  bool entered_;
  absl::Time began_;
  std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
};

// One request, one reply. Owns itself: Complete must be called once, from any thread.
class UnaryCall final : public grpc::ServerUnaryReactor {
 public:
  UnaryCall(CallGate* gate, Metrics* metrics, Method method) : call_(gate, metrics, method) {}

  absl::Status Admitted() const { return call_.Admitted(); }
  const std::shared_ptr<std::atomic<bool>>& cancelled() const { return call_.cancelled(); }

  void Complete(const absl::Status& status) {
    call_.RecordDuration();
    Finish(call_.End(status));
  }

 private:
  void OnCancel() override { call_.Cancel(); }
  void OnDone() override { delete this; }

  Call call_;
};

}  // namespace astray
