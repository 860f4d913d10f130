#include "server/lane.h"

#include <grpc/support/time.h>

namespace astray {

void Lane::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Lane::Shutdown() {
  if (!thread_.joinable()) return;
  // The thread itself closes the queue: nobody but it posts operations, so none comes too late.
  Send(&stop_);
  thread_.join();
}

void Lane::Run() {
  void* tag = nullptr;
  bool ok = false;
  while (true) {
    if (later_.empty()) {
      if (!queue_->Next(&tag, &ok)) return;
      static_cast<LaneTag*>(tag)->Proceed(ok);
    }
    for (size_t taken = 0; taken < kMostTaken; ++taken) {
      if (queue_->AsyncNext(&tag, &ok, gpr_inf_past(GPR_CLOCK_MONOTONIC)) != grpc::CompletionQueue::GOT_EVENT) break;
      static_cast<LaneTag*>(tag)->Proceed(ok);
    }
    now_.swap(later_);
    for (LaneTag* due : now_) due->Proceed(true);
    now_.clear();
  }
}

void Lane::Send(LaneTag* tag) {
  absl::MutexLock lock(&mutex_);
  sent_.push_back(tag);
  if (sent_.size() == 1) alarm_.Set(queue_.get(), gpr_now(GPR_CLOCK_MONOTONIC), &take_sent_);
}

void Lane::TakeSent(bool /*ok*/) {
  {
    absl::MutexLock lock(&mutex_);
    taken_.swap(sent_);
  }
  for (LaneTag* tag : taken_) tag->Proceed(true);
  taken_.clear();
}

void Lane::Leave() {
  --inside_;
  CloseIfEmpty();
}

void Lane::Stop(bool /*ok*/) {
  stopping_ = true;
  CloseIfEmpty();
}

void Lane::CloseIfEmpty() {
  if (stopping_ && inside_ == 0) queue_->Shutdown();
}

}  // namespace astray
