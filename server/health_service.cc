#include "server/health_service.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/async_stream.h"
#include "server/lane_call.h"
#include "server/status.h"
#include "server/unary_slots.h"

namespace astray {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

class HealthService::Checks final : public UnarySlots<HealthCheckRequest, HealthCheckResponse> {
 public:
  Checks(HealthService* service, Lane* lane) : UnarySlots(lane), service_(service) {}

 private:
  static constexpr size_t kMostRequestKept = 1024;  // bytes

  void Post(grpc::ServerContext* context, grpc::ByteBuffer* request, Writer* writer, LaneTag* tag) override {
    service_->RequestCheck(context, request, writer, lane().queue(), lane().queue(), tag);
  }
  void Handle(Slot* slot) override {
    if (!slot->parsed().ok()) return slot->Finish(ToGrpcStatus(slot->parsed()));
    const Status status = service_->StatusOf(service_->Knows(slot->request().service()));
    slot->response()->set_status(status);
    slot->Finish(status == HealthCheckResponse::SERVICE_UNKNOWN
                     ? grpc::Status(grpc::NOT_FOUND, "health: there is no such service here")
                     : grpc::Status::OK);
  }
  bool IsSmall(size_t request_bytes, const HealthCheckResponse& /*response*/) const override {
    return request_bytes <= kMostRequestKept;
  }

  HealthService* const service_;
};

// One call of Watch. Statuses that come while one is written are not queued: the last of them is what counts.
class HealthService::Watch final : public LaneCall {
 public:
  // Waits for a call; each that comes has another one wait.
  static void Post(HealthService* service) { new Watch(service); }

  // Writes the status, where it is news.
  void Continue() {
    if (finished_ || writing_) return;
    if (gone_) {
      finished_ = true;
      service_->watches_.erase(this);
      writer_.Finish(grpc::Status::CANCELLED, Open(&finished_tag_));
      return;
    }
    const Status status = service_->StatusOf(known_);
    if (told_ && response_.status() == status) return;
    told_ = true;
    response_.set_status(status);
    writing_ = true;
    writer_.Write(response_, Open(&wrote_tag_));
  }

 private:
  explicit Watch(HealthService* service) : LaneCall(service->lane_), service_(service), writer_(context()) {
    service_->RequestWatch(context(), &request_, &writer_, lane()->queue(), lane()->queue(), arrived_tag());
  }

  void PostNext() override { Post(service_); }
  void Begin() override {
    if (service_->watches_.size() >= kMaxWatches) {
      finished_ = true;
      writer_.Finish(ToGrpcStatus(absl::ResourceExhaustedError(
                         absl::StrCat(kMaxWatches, " Watch calls are open already; retry later"))),
                     Open(&finished_tag_));
      return;
    }
    known_ = service_->Knows(request_.service());
    request_ = HealthCheckRequest();  // it may watch for days, and the name be of any length
    service_->watches_.insert(this);
    Continue();
  }
  void Wrote(bool ok) {
    writing_ = false;
    if (!ok) gone_ = true;
    Continue();
  }
  // The client is, or the server.
  void Gone(bool /*ok*/) override {
    gone_ = true;
    Continue();
  }
  void Finished(bool /*ok*/) {}

  HealthService* const service_;
  grpc::ServerAsyncWriter<HealthCheckResponse> writer_;
  HealthCheckRequest request_;
  HealthCheckResponse response_;  // the last one written
  bool known_ = false, told_ = false, writing_ = false, gone_ = false, finished_ = false;
  Tag<Watch, &Watch::Wrote> wrote_tag_{this};
  Tag<Watch, &Watch::Finished> finished_tag_{this};
};

HealthService::HealthService(std::vector<std::string> services) : services_(std::move(services)) {}

HealthService::~HealthService() = default;

void HealthService::Post(Lane* lane) {
  lane_ = lane;
  checks_ = std::make_unique<Checks>(this, lane);
  checks_->PostAll();
  Watch::Post(this);
}

void HealthService::SetServing(bool serving) {
  serving_.store(serving, std::memory_order_relaxed);
  if (lane_ != nullptr) lane_->Send(&tell_);  // whose mutex has watchers see it
}

bool HealthService::Knows(const std::string& service) const {
  return service.empty() || std::ranges::find(services_, service) != services_.end();
}

HealthService::Status HealthService::StatusOf(bool known) const {
  if (!known) return HealthCheckResponse::SERVICE_UNKNOWN;
  return serving_.load(std::memory_order_relaxed) ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

void HealthService::Tell(bool /*ok*/) {
  for (Watch* watch : watches_) watch->Continue();
}

}  // namespace astray
