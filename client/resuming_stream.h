// A ScoreStream call that outlives its server: where the connection breaks it is made again, and goes on without a
// wrong verdict. Each entity's last rows are kept and replayed before its next row, so that windows and alarms are what
// they were; what was sent and not answered is sent again. Each request has one reply.
//
// Write and Read may be called from two threads, each by one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "astray/v1/service.pb.h"
#include "client/backoff.h"
#include "client/client.h"

namespace astray {

class ResumingStream {
 public:
  static constexpr size_t kMaxUnanswered = 1024;
  static constexpr size_t kMaxEntities = 100'000;
  static constexpr size_t kMaxRememberedValues = size_t{1} << 24;  // 64 MiB; those silent longest are forgotten

  struct Options {
    v1::ModelRef model;
    v1::ScoreOptions score;
    size_t features = 0, memory_rows = 0;  // ModelDescription's
    // Requests; then Write waits. For a model whose rows wait for late ones it must be more than the server may hold
    // back; that is bounded there, in values (EntityStreams::kMaxValues).
    size_t max_unanswered = kMaxUnanswered;
    // Without an answer from a server. A server that never answered is not waited for.
    absl::Duration give_up_after = absl::Minutes(5);
    std::function<void(const absl::Status&)> on_broken;  // called by Read once for each time; may be empty
  };

  // `client` must outlive it.
  ResumingStream(Client* client, Options options);
  ~ResumingStream();  // cancels what is not finished

  // `request` needs no model and no options. False: the stream is at its end, Finish says why.
  bool Write(v1::ScoreStreamRequest request) ABSL_LOCKS_EXCLUDED(mutex_);
  void WritesDone() ABSL_LOCKS_EXCLUDED(mutex_);
  bool Read(v1::ScoreResponse* response) ABSL_LOCKS_EXCLUDED(mutex_);  // false at the end
  absl::Status Finish() ABSL_LOCKS_EXCLUDED(mutex_);                   // after Read returned false

 private:
  struct Sent {
    std::string id;                                   // the caller's
    std::shared_ptr<v1::ScoreStreamRequest> request;  // with its number for an id
  };
  struct RememberedRow {
    double time;  // not a number where the row has none
    std::vector<float> values;
    std::string segment;
  };
  struct Memory {
    std::string entity;
    std::deque<RememberedRow> rows;
    v1::Alarm alarm;  // of the last row
  };

  void SendAll() ABSL_LOCKS_EXCLUDED(mutex_);  // the sending thread
  bool HasToSend() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MayWrite() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool NotSending() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !sending_; }
  bool Ended() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ended_; }
  // What is to be sent next: maybe a replay, and the request.
  std::vector<std::shared_ptr<const v1::ScoreStreamRequest>> TakeNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static std::vector<std::shared_ptr<v1::ScoreStreamRequest>> Replays(const Memory& memory);
  bool Accept(v1::ScoreResponse* response) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);  // false: it answers nothing
  void Remember(const v1::ScoreStreamRequest& request, const v1::ScoreResponse& response)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Memory& MemoryOf(absl::string_view entity) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Reconnect(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);
  void End(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Client* const client_;
  const Options options_;
  const size_t capacity_;                          // of memory_
  absl::Time last_answer_ = absl::InfinitePast();  // Read's alone

  absl::Mutex mutex_;
  std::shared_ptr<ScoreStreamCall> call_ ABSL_GUARDED_BY(mutex_);
  bool begun_ ABSL_GUARDED_BY(mutex_) = false;        // on this call
  bool half_closed_ ABSL_GUARDED_BY(mutex_) = false;  // this call
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;       // this call
  bool sending_ ABSL_GUARDED_BY(mutex_) = false;
  bool writes_done_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  Backoff backoff_ ABSL_GUARDED_BY(mutex_){kLongestServerBackoff};  // since the last answer
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, Sent> unanswered_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_number_ ABSL_GUARDED_BY(mutex_) = 0;  // of requests: the ids that the server sees
  uint64_t next_to_send_ ABSL_GUARDED_BY(mutex_) = 0;
  bool resumed_ ABSL_GUARDED_BY(mutex_) = false;  // this call is not the first
  absl::flat_hash_set<std::string> replayed_ ABSL_GUARDED_BY(mutex_);
  std::list<Memory> memory_ ABSL_GUARDED_BY(mutex_);  // the one asked for last is first
  absl::flat_hash_map<absl::string_view, std::list<Memory>::iterator> places_ ABSL_GUARDED_BY(mutex_);
  std::thread sender_;
};

}  // namespace astray
