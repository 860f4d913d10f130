// What every call of a stream does, whatever its messages: passes the gate, counts itself, says whether it was
// cancelled.
#pragma once

#include <atomic>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "grpcpp/support/status.h"
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

}  // namespace astray
