// A completion queue of the gRPC server and the one thread that takes from it: calls on a lane are read, scored and
// answered on that thread, and whatever became ready meanwhile is taken together.
//
//   Lane lane(builder.AddCompletionQueue()); ... post calls ...; lane.Start();
//   grpc_server->Shutdown(..); lane.Shutdown();  // in this order
//
// But for Start, Shutdown, Send and IsCurrent, of the lane's thread alone (or before Start).
#pragma once

#include <cstddef>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/alarm.h"
#include "grpcpp/completion_queue.h"

namespace astray {

// What a lane calls when an operation has ended.
class LaneTag {
 public:
  virtual void Proceed(bool ok) = 0;

 protected:
  ~LaneTag() = default;
};

// A tag that is a method of its owner.
template <typename Owner, void (Owner::*kMethod)(bool ok)>
class MemberTag final : public LaneTag {
 public:
  explicit MemberTag(Owner* owner) : owner_(owner) {}
  void Proceed(bool ok) override { (owner_->*kMethod)(ok); }

 private:
  Owner* const owner_;
};

class Lane {
 public:
  explicit Lane(std::unique_ptr<grpc::ServerCompletionQueue> queue) : queue_(std::move(queue)) {}
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;
  ~Lane() { Shutdown(); }

  void Start();
  // Ends the thread once no call is inside. The server must be shut down, and nothing may finish calls from elsewhere.
  void Shutdown();

  grpc::ServerCompletionQueue* queue() { return queue_.get(); }
  bool IsCurrent() const { return thread_.get_id() == std::this_thread::get_id(); }

  // Calls tag->Proceed(true) on the lane's thread, in the order of Send. From any thread, until Shutdown.
  void Send(LaneTag* tag) ABSL_LOCKS_EXCLUDED(mutex_);
  // Calls tag->Proceed(true) when what is ready now has been taken.
  void Later(LaneTag* tag) { later_.push_back(tag); }

  // Calls that have arrived and are not yet done with.
  void Enter() { ++inside_; }
  void Leave();
  bool stopping() const { return stopping_; }  // no more calls may be posted

 private:
  static constexpr size_t kMostTaken = 256;  // operations between two looks at what is to be done later

  void Run();
  void TakeSent(bool ok) ABSL_LOCKS_EXCLUDED(mutex_);
  void Stop(bool ok);
  void CloseIfEmpty();

  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::thread thread_;
  std::vector<LaneTag*> later_, now_;
  size_t inside_ = 0;
  bool stopping_ = false;

  absl::Mutex mutex_;
  std::vector<LaneTag*> sent_ ABSL_GUARDED_BY(mutex_);  // where there are any, alarm_ is set
  std::vector<LaneTag*> taken_;
  grpc::Alarm alarm_;
  MemberTag<Lane, &Lane::TakeSent> take_sent_{this};
  MemberTag<Lane, &Lane::Stop> stop_{this};
};

}  // namespace astray
