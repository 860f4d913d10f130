#include "client/stream_scoring.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <deque>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
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

// Rows that were sent and have no verdict yet. The server bounds them: it stops reading until its replies are read.
class UnansweredRows {
 public:
  void Push(const Row& row) {
    absl::MutexLock lock(&mutex_);
    rows_.push_back({.number = row.number, .timestamp = row.timestamp, .entity = row.entity});
  }
  bool Pop(Row* row) {
    absl::MutexLock lock(&mutex_);
    if (rows_.empty()) return false;
    *row = std::move(rows_.front());
    rows_.pop_front();
    return true;
  }

 private:
  absl::Mutex mutex_;
  std::deque<Row> rows_ ABSL_GUARDED_BY(mutex_);
};

// Until the source ends, fails or is cancelled, or the call breaks.
absl::Status SendRows(RowSource* source, const StreamScoringOptions& options, ScoreStreamCall* call,
                      UnansweredRows* unanswered) {
  v1::ScoreStreamRequest request;
  *request.mutable_model() = options.model;
  *request.mutable_options() = options.score;
  Row row;
  bool waiting = false;  // `row` is the first of the next message
  for (absl::StatusOr<bool> more = true; *more || waiting;) {
    request.clear_values();
    for (size_t rows = 0; rows < options.batch_rows; ++rows) {
      if (!std::exchange(waiting, false)) {
        more = source->Next(&row);
        if (!more.ok() || !*more) break;
        waiting = rows > 0 && row.entity != request.entity();
        if (waiting) break;
      }
      request.set_entity(row.entity);
      request.mutable_values()->Add(row.values.begin(), row.values.end());
      unanswered->Push(row);
    }
    // What came before an error has its verdicts, too.
    if (request.values_size() > 0 && !call->Write(request)) break;
    RETURN_IF_ERROR(more.status());
    request.clear_model();
    request.clear_options();
  }
  return absl::OkStatus();
}

absl::Status TakeVerdicts(ScoreStreamCall* call, UnansweredRows* unanswered, const ConsumeVerdict& consume) {
  v1::ScoreResponse response;
  Row row;
  while (call->Read(&response)) {
    for (const v1::Verdict& verdict : response.verdicts()) {
      if (!unanswered->Pop(&row)) {
        call->Cancel();
        return absl::InternalError("the server sent more verdicts than it got rows");
      }
      consume(row, verdict);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ScoreThroughServer(Client* client, const StreamScoringOptions& options, const OpenSource& open,
                                const ConsumeVerdict& consume) {
  const StopEvent stop;
  ASSIGN_OR_RETURN(const auto source, open(stop.fd()));
  const std::unique_ptr<ScoreStreamCall> call = client->ScoreStream();
  UnansweredRows unanswered;
  absl::Status taken;
  std::thread taker([&] {
    taken = TakeVerdicts(call.get(), &unanswered, consume);
    stop.Set();  // nobody answers any more
  });
  absl::Status sent = SendRows(source.get(), options, call.get(), &unanswered);
  call->WritesDone();
  taker.join();
  const absl::Status finished = call->Finish();
  RETURN_IF_ERROR(taken);
  RETURN_IF_ERROR(finished);
  if (sent.ok() || absl::IsCancelled(sent)) {
    Row row;
    if (unanswered.Pop(&row))
      return absl::InternalError(absl::StrCat("the server sent no verdict for row ", row.number));
  }
  if (absl::IsCancelled(sent)) return absl::InternalError("the server ended the stream before the rows did");
  return sent;
}

}  // namespace astray
