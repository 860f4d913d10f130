#include "client/stream_scoring.h"

#include <thread>
#include <utility>
#include <vector>

#include "client/stop_event.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

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
  const absl::Status sent = SendRows(RowMessages(source.get(), options.messages), &stream, &unanswered);
  stream.WritesDone();
  taker.join();
  RETURN_IF_ERROR(taken);
  RETURN_IF_ERROR(sent);
  return unanswered.CheckEmpty();
}

}  // namespace astray
