// The unary calls of one method on one lane, whose messages come and go as bytes (message_bytes.h). A slot is a call's
// context, request and reply; it is used again and again, its messages cleared and not freed. Few slots wait for
// calls, so that they stay in the caches: gRPC gives a call to the one that has waited longest, of any lane that has
// one.
//
// Of the lane's thread, but for Slot::Finish and Slot::cancelled.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/async_unary_call.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/lane.h"
#include "server/message_bytes.h"

namespace astray {

template <typename Request, typename Response>
class UnarySlots {
 public:
  static constexpr size_t kPosted = 16;
  static constexpr size_t kSpare = 64;                       // kept beside those that are posted or busy
  static constexpr size_t kMostBytesKept = size_t{1} << 19;  // of a slot's messages

  using Writer = grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>;

  class Slot {
   public:
    explicit Slot(UnarySlots* owner) : owner_(owner), arrived_(this), sent_(this), ended_(this), settled_(this) {}

    // The owner's.
    bool admitted = false;

    // InvalidArgument where what came is no request: request() then says nothing.
    const absl::Status& parsed() const { return parsed_; }
    const Request& request() const { return request_; }
    size_t request_bytes() const { return request_bytes_; }
    Response* response() { return &response_; }
    absl::Time deadline() const {
      const gpr_timespec deadline = context_->raw_deadline();
      if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0) return absl::InfiniteFuture();
      return absl::FromChrono(context_->deadline());
    }
    // Valid until Finish.
    const std::atomic<bool>& cancelled() const { return cancelled_; }

    // Either once for each call, from any thread; the slot is not the caller's any more.
    void Finish(const grpc::Status& status) {
      if (status.ok()) return FinishWith(response_);
      writer_->FinishWithError(status, &sent_);
      Finished();
    }
    // With a response that is not the slot's.
    void FinishWith(const Response& response) {
      writer_->Finish(SerializeMessage(response), grpc::Status::OK, &sent_);
      Finished();
    }

   private:
    friend class UnarySlots;

    void Post() {
      context_.emplace();
      writer_.emplace(&*context_);
      cancelled_.store(false, std::memory_order_relaxed);
      context_->AsyncNotifyWhenDone(&ended_);
      owner_->Post(&*context_, &bytes_, &*writer_, &arrived_);
    }
    void Parse() {
      request_bytes_ = bytes_.Length();
      parsed_ = ParseMessage(&bytes_, &request_);
    }
    void Finished() {
      if (Close()) owner_->lane_->Send(&settled_);  // the lane was faster than this thread
    }
    void Arrived(bool ok) { owner_->Take(this, ok); }
    void Sent(bool ok) {
      if (Close()) Settled(ok);
    }
    void Ended(bool ok) {
      if (context_->IsCancelled()) cancelled_.store(true, std::memory_order_relaxed);
      if (Close()) Settled(ok);
    }
    void Settled(bool /*ok*/) { owner_->Release(this); }
    // Whether it was the last. What another thread wrote and read is then done with.
    bool Close() { return open_.fetch_sub(1, std::memory_order_acq_rel) == 1; }

    UnarySlots* const owner_;
    std::optional<grpc::ServerContext> context_;
    std::optional<Writer> writer_;
    grpc::ByteBuffer bytes_;  // of the request, until they are parsed
    size_t request_bytes_ = 0;
    absl::Status parsed_;
    Request request_;
    Response response_;
    std::atomic<bool> cancelled_{false};
    std::atomic<int> open_{0};  // of Finish, sent_ and ended_, all of which follow each arrival
    MemberTag<Slot, &Slot::Arrived> arrived_;
    MemberTag<Slot, &Slot::Sent> sent_;
    MemberTag<Slot, &Slot::Ended> ended_;
    MemberTag<Slot, &Slot::Settled> settled_;
  };

  explicit UnarySlots(Lane* lane) : lane_(lane) {}
  virtual ~UnarySlots() = default;
  UnarySlots(const UnarySlots&) = delete;
  UnarySlots& operator=(const UnarySlots&) = delete;

  // Before the lane starts, once the server is built.
  void PostAll(size_t posted = kPosted) {
    for (size_t i = 0; i < posted; ++i) PostOne();
  }

 protected:
  // Asks gRPC for a call of the method.
  virtual void Post(grpc::ServerContext* context, grpc::ByteBuffer* request, Writer* writer, LaneTag* tag) = 0;
  // A call is here, of a request or of none (Slot::parsed); Finish must follow.
  virtual void Handle(Slot* slot) = 0;
  // Its reply is sent and its client was told, or is gone.
  virtual void Settled(Slot* /*slot*/) {}
  // Whether a slot may keep what its messages have allocated: a request of so many bytes, in whatever field.
  virtual bool IsSmall(size_t request_bytes, const Response& /*response*/) const {
    return request_bytes <= kMostBytesKept;
  }

  Lane& lane() { return *lane_; }

 private:
  void PostOne() {
    std::unique_ptr<Slot> slot;
    if (spare_.empty()) {
      slot = std::make_unique<Slot>(this);
    } else {
      slot = std::move(spare_.back());
      spare_.pop_back();
    }
    slot.release()->Post();  // gRPC's, until Take
  }
  void Take(Slot* slot, bool ok) {
    if (!ok) {
      delete slot;
      return;
    }
    lane_->Enter();
    slot->open_.store(3, std::memory_order_relaxed);
    if (!lane_->stopping()) PostOne();
    slot->Parse();
    Handle(slot);
  }
  void Release(Slot* raw) {
    std::unique_ptr<Slot> slot(raw);
    Settled(raw);
    if (spare_.size() < kSpare && IsSmall(slot->request_bytes_, slot->response_)) {
      slot->writer_.reset();
      slot->context_.reset();
      slot->response_.Clear();
      spare_.push_back(std::move(slot));
    }
    slot.reset();
    lane_->Leave();
  }

  Lane* const lane_;
  std::vector<std::unique_ptr<Slot>> spare_;
};

}  // namespace astray
