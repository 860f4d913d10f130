// A call on a lane that is more than one request and one reply. It owns itself: it is made waiting for a call of its
// method and, once that has arrived, counts the tags that are still to come. The last one deletes it. So a tag is
// opened before it is given away, to gRPC or to another thread; that gRPC is done with the call (Gone) is one of them.
//
//   CountCall(CountService* service, Lane* lane) : LaneCall(lane), service_(service), stream_(context()) {
//     service_->RequestCount(context(), &stream_, lane->queue(), lane->queue(), arrived_tag());
//   }
//   void PostNext() override { new CountCall(service_, lane()); }
//   void Begin() override { stream_.Read(&request_, Open(&read_tag_)); }
//   void Read(bool ok);
//   Tag<CountCall, &CountCall::Read> read_tag_{this};
//
// Of the lane's thread, but for Open, which any may call while another tag is open.
#pragma once

#include <atomic>

#include "grpcpp/server_context.h"
#include "server/lane.h"

namespace astray {

class LaneCall {
 public:
  LaneCall(const LaneCall&) = delete;
  LaneCall& operator=(const LaneCall&) = delete;

 protected:
  // A tag that is a method of the call, and closed by it.
  template <typename Owner, void (Owner::*kMethod)(bool ok)>
  class Tag final : public LaneTag {
   public:
    explicit Tag(Owner* owner) : owner_(owner) {}
    void Proceed(bool ok) override {
      (owner_->*kMethod)(ok);
      owner_->Close();
    }

   private:
    Owner* const owner_;
  };

  // The constructor of the call asks gRPC for one, with arrived_tag.
  explicit LaneCall(Lane* lane) : lane_(lane) { context_.AsyncNotifyWhenDone(&gone_tag_); }
  virtual ~LaneCall() = default;

  // Makes the next one of its kind.
  virtual void PostNext() = 0;
  // A call has arrived.
  virtual void Begin() = 0;
  // It is over, or cancelled.
  virtual void Gone(bool /*ok*/) {}

  Lane* lane() const { return lane_; }
  grpc::ServerContext* context() { return &context_; }
  LaneTag* arrived_tag() { return &arrived_tag_; }

  LaneTag* Open(LaneTag* tag) {
    open_.fetch_add(1, std::memory_order_relaxed);
    return tag;
  }
  // For a tag that was opened and will not come.
  void Close() {
    if (open_.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
    Lane* lane = lane_;
    delete this;
    lane->Leave();
  }

 private:
  void Arrived(bool ok) {
    if (!ok) {  // the server ends
      delete this;
      return;
    }
    lane_->Enter();
    Open(&gone_tag_);
    if (!lane_->stopping()) PostNext();
    Begin();
  }

  Lane* const lane_;
  grpc::ServerContext context_;
  std::atomic<int> open_{0};
  MemberTag<LaneCall, &LaneCall::Arrived> arrived_tag_{this};
  Tag<LaneCall, &LaneCall::Gone> gone_tag_{this};
};

}  // namespace astray
