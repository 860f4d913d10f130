#include "client/stream_scoring.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <thread>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"

namespace astray {
namespace {

// A flag that a poll can wait for.
class StopEvent {
 public:
  StopEvent() : fd_(eventfd(0, EFD_CLOEXEC)) {}
  ~StopEvent() { close(fd_); }
  StopEvent(const StopEvent&) = delete;
  StopEvent& operator=(const StopEvent&) = delete;
  void Set() const { static_cast<void>(eventfd_write(fd_, 1)); }
  int fd() const { return fd_; }

 private:
  int fd_;
};

// Until the source ends, fails or is cancelled, or the stream is at its end.
absl::Status SendRows(RowMessages messages, ResumingStream* stream, UnansweredRows* unanswered) {
  v1::ScoreStreamRequest request;
  std::vector<Row> rows;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, messages.Next(&request, &rows));
    if (!more) return absl::OkStatus();
    unanswered->Push(request.id(), std::move(rows));
    if (!stream->Write(std::move(request))) return absl::CancelledError("the stream is at its end");
  }
}

absl::Status TakeVerdicts(ResumingStream* stream, UnansweredRows* unanswered, const ConsumeVerdict& consume) {
  v1::ScoreResponse response;
  while (stream->Read(&response)) RETURN_IF_ERROR(unanswered->Take(response, consume));
  return stream->Finish();
}

}  // namespace

absl::Status ScoreThroughServer(Client* client, const StreamScoringOptions& options, const OpenSource& open,
                                const ConsumeVerdict& consume) {
  const StopEvent stop;
  ASSIGN_OR_RETURN(const auto source, open(stop.fd()));
  ResumingStream stream(client, options.stream);
  UnansweredRows unanswered;
  absl::Status taken;
  std::thread taker([&] {
    taken = TakeVerdicts(&stream, &unanswered, consume);
    stop.Set();  // nobody answers any more
  });
  const absl::Status sent =
      SendRows(RowMessages(source.get(), options.batch_rows, options.timed), &stream, &unanswered);
  stream.WritesDone();
  taker.join();
  RETURN_IF_ERROR(taken);
  RETURN_IF_ERROR(sent);
  return unanswered.CheckEmpty();
}

}  // namespace astray
