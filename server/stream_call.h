// One call of ScoreStream or ScoreLogStream, on a lane: replies in the order in which the Scorer has them. Whatever was
// read while the lane was busy is scored together; replies that are ready together are written with one system call.
// Reading pauses while too much is unanswered, what waits in the scorer not counted. A timer sends that on.
//
// A Scorer (StreamScorer, LogScorer) has Request, Response and Exchange {request, arrival, response}; Begin,
// CheckRequest, Score, TakeReplies, served, waits and next_release as StreamScorer says, and the size of a request, in
// values.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "astray/v1/service.pb.h"
#include "grpcpp/alarm.h"
#include "grpcpp/support/async_stream.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/call.h"
#include "server/detection_service.h"
#include "server/joint_scoring.h"
#include "server/lane.h"
#include "server/lane_call.h"

namespace astray {

// The calls of one method on one lane, and what they share. Of the lane's thread, but for the constructor and the first
// Post.
template <typename Scorer>
class StreamLane {
 public:
  using Exchange = typename Scorer::Exchange;

  // `scoring` is the lane's. All must outlive it; it must outlive the lane's thread.
  StreamLane(DetectionService* service, Lane* lane, JointScoring* scoring)
      : service_(service), lane_(lane), scoring_(scoring) {}
  StreamLane(const StreamLane&) = delete;
  StreamLane& operator=(const StreamLane&) = delete;

  // Waits for a call; each that comes has another one wait.
  void Post();

  DetectionService* service() const { return service_; }
  Lane* lane() const { return lane_; }
  JointScoring* scoring() const { return scoring_; }

  // Empty; where there is one that was answered, with the memory that its messages had.
  std::unique_ptr<Exchange> MakeExchange();
  // Takes back one that was answered, in so many bytes.
  void Recycle(std::unique_ptr<Exchange> exchange, size_t reply_bytes);

 private:
  static constexpr size_t kMostSpare = 64;
  static constexpr size_t kMostSpareValues = 4096;  // of a request and its reply, four bytes a value

  DetectionService* const service_;
  Lane* const lane_;
  JointScoring* const scoring_;
  std::vector<std::unique_ptr<Exchange>> spare_;
};

template <typename Scorer>
class StreamCall final : public LaneCall, public OpenStream {
 public:
  static constexpr size_t kMaxUnanswered = 64;                     // requests
  static constexpr size_t kMaxUnansweredValues = size_t{1} << 20;  // of them together, or one request

  // Waits for a call of the method.
  explicit StreamCall(StreamLane<Scorer>* shared);

  // From any thread, between AddStream and RemoveStream.
  void End() override;

 private:
  using Exchange = typename Scorer::Exchange;

  void PostNext() override { shared_->Post(); }
  void Begin() override;
  void Gone(bool ok) override;

  // Tags.
  void Read(bool ok);
  void Wrote(bool ok);
  void Rang(bool ok);      // the timer
  void Due(bool ok);       // what was ready is taken
  void Scored(bool ok);    // by the workers
  void Ending(bool ok);    // the server does
  void Finished(bool ok);  // the status is sent

  absl::Status Accept();  // the message just read
  void Stop(absl::Status status);
  void Drop();      // what is not scored or not written
  void MakeDue();   // Continue, once what is ready has been taken
  void Continue();  // starts whatever can be started now
  void ContinueReading();
  void ContinueWriting();
  void ContinueScoring();
  void ContinueTimer();
  void TakeScored(const absl::Status& status);

  StreamLane<Scorer>* const shared_;
  const DetectionService::Parts& parts_;
  grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer> stream_;
  std::optional<Call> call_;
  bool counted_ = false;
  grpc::ByteBuffer bytes_;  // of the message being read

  Scorer scorer_;
  bool begun_ = false, reading_ = false, scoring_ = false, writing_ = false, timing_ = false, due_ = false;
  bool written_ = false;   // a reply
  bool stopped_ = false;   // nothing more is read
  bool released_ = false;  // and nothing waits for late rows any more
  bool finished_ = false;
  absl::Status status_;
  std::vector<std::unique_ptr<Exchange>> waiting_, taken_;  // to score; being given to the scorer
  std::deque<grpc::ByteBuffer> replies_;
  size_t unanswered_ = 0;         // requests that wait or are scored
  size_t unanswered_values_ = 0;  // of those requests
  absl::Status scored_status_;    // of the workers
  std::vector<double> seconds_;
  grpc::Alarm timer_;

  Tag<StreamCall, &StreamCall::Read> read_tag_{this};
  Tag<StreamCall, &StreamCall::Wrote> wrote_tag_{this};
  Tag<StreamCall, &StreamCall::Rang> rang_tag_{this};
  Tag<StreamCall, &StreamCall::Due> due_tag_{this};
  Tag<StreamCall, &StreamCall::Scored> scored_tag_{this};
  Tag<StreamCall, &StreamCall::Ending> ending_tag_{this};
  Tag<StreamCall, &StreamCall::Finished> finished_tag_{this};
};

}  // namespace astray
