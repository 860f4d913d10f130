#include "client/log_scoring.h"

#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/backoff.h"
#include "client/client.h"
#include "client/log_rows.h"
#include "client/offline_detector.h"
#include "client/stop_event.h"
#include "engine/base/status_macros.h"
#include "engine/data/line_reader.h"
#include "engine/detect/session_verdict.h"
#include "engine/detect/verdict_message.h"

namespace astray {
namespace {

constexpr size_t kMessageBytes = 64 << 10;  // of lines, where nobody waits for each
constexpr size_t kOfflineLines = 10'000;    // between two scorings
constexpr int kMostInVain = 3;              // streams that were answered and gave no new session

absl::StatusOr<LineReader> OpenLines(const FileScoringFlags& flags, int stop_fd) {
  ASSIGN_OR_RETURN(auto source, ByteSource::Open(flags.data, stop_fd, flags.follow));
  return LineReader(std::move(source), flags.data == "-" ? "standard input" : flags.data, LineReader::LongLines::kCut);
}

absl::Status ScoreOffline(const FileScoringFlags& flags, const v1::ScoreOptions& asked,
                          const std::function<void(const v1::SessionVerdict&)>& consume) {
  ASSIGN_OR_RETURN(const auto detector, OpenDetector(flags.server.model, flags.epoch));
  const LogTransform* log = detector->model().pipeline.log();
  if (log == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(flags.server.model, ": was not trained on a log"));
  }
  ASSIGN_OR_RETURN(const ScoreOptions options, ReadScoreOptions(asked));
  ASSIGN_OR_RETURN(LineReader reader, OpenLines(flags, -1));
  LogSessions sessions(log);
  std::vector<LogSession> closed;
  std::vector<float> rows;
  ScoreResult result;
  const auto score = [&]() -> absl::Status {
    FillSessionRows(*log, closed, &rows);
    RETURN_IF_ERROR(detector->Score(rows, options, &result));
    for (size_t i = 0; i < closed.size(); ++i) {
      v1::SessionVerdict message;
      FillSession(closed[i], &message);
      FillVerdict(*detector, result, i, message.mutable_verdict());
      FillTemplates(*log, closed[i], &message);
      consume(message);
    }
    closed.clear();
    return absl::OkStatus();
  };
  absl::string_view line;
  for (size_t lines = 0;; ++lines) {
    ASSIGN_OR_RETURN(const bool more, reader.Next(&line));
    if (!more) break;
    sessions.Add({line.data(), line.size()}, &closed);
    if (lines % kOfflineLines == 0 && !closed.empty()) RETURN_IF_ERROR(score());
  }
  sessions.Flush(&closed);
  return score();
}

// Until the lines end, fail or are cancelled, or the call breaks.
absl::Status SendLines(LineReader* reader, size_t message_bytes, v1::ScoreLogsRequest request,
                       ScoreLogStreamCall* call) {
  absl::string_view line;
  size_t bytes = 0;
  while (true) {
    const absl::StatusOr<bool> more = reader->Next(&line);
    if (more.ok() && *more) {
      request.add_lines(line.data(), line.size());
      bytes += line.size() + 1;
      if (bytes < message_bytes) continue;
    }
    if (request.lines_size() > 0 && !call->Write(request)) return absl::OkStatus();  // Finish says why
    if (!more.ok() || !*more) return more.status();
    request.Clear();
    bytes = 0;
  }
}

// The sessions that the caller has, in order, by what a stream that begins anew must find again. Errors are the
// network's: a calibration that goes live in between moves thresholds, not them.
class GivenSessions {
 public:
  uint64_t count() const { return count_; }
  void BeginAnew() { passed_ = passed_hash_ = 0; }
  // Whether the next session of this stream is new to the caller. NotFound where those before it are not what they
  // were.
  absl::StatusOr<bool> IsNew(const v1::SessionVerdict& session) {
    const bool is_new = passed_ == count_;
    passed_hash_ =
        absl::HashOf(passed_hash_, session.session(), session.first_line(), session.lines(), session.verdict().error());
    ++passed_;
    if (is_new) {
      count_ = passed_;
      hash_ = passed_hash_;
    } else if (passed_ == count_ && passed_hash_ != hash_) {
      return absl::NotFoundError("other sessions");
    }
    return is_new;
  }
  bool AllFound() const { return passed_ == count_; }

 private:
  uint64_t count_ = 0, passed_ = 0;  // passed_: of this stream
  size_t hash_ = 0, passed_hash_ = 0;
};

// One stream over all of the lines.
struct LogAttempt {
  absl::Status call, sent;
  bool same = true;  // it found the sessions that were given
  absl::Time last_answer = absl::InfinitePast();
};

absl::StatusOr<LogAttempt> ScoreOnce(const FileScoringFlags& flags, v1::ScoreLogsRequest first, Client* client,
                                     GivenSessions* given,
                                     const std::function<void(const v1::SessionVerdict&)>& consume) {
  LogAttempt attempt;
  const StopEvent stop;
  ASSIGN_OR_RETURN(LineReader reader, OpenLines(flags, stop.fd()));
  given->BeginAnew();
  const std::unique_ptr<ScoreLogStreamCall> call = client->ScoreLogStream();
  std::thread taker([&] {
    v1::ScoreLogsResponse response;
    while (attempt.same && call->Read(&response)) {
      attempt.last_answer = absl::Now();
      for (const v1::SessionVerdict& session : response.sessions()) {
        const absl::StatusOr<bool> is_new = given->IsNew(session);
        attempt.same = attempt.same && is_new.ok();
        if (attempt.same && *is_new) consume(session);
      }
    }
    if (!attempt.same) call->Cancel();
    stop.Set();  // nobody answers any more
  });
  attempt.sent = SendLines(&reader, flags.message_rows == 1 ? 1 : kMessageBytes, std::move(first), call.get());
  call->WritesDone();
  taker.join();
  attempt.call = call->Finish();
  attempt.same = attempt.same && (!attempt.call.ok() || given->AllFound());
  return attempt;
}

absl::Status Lost(const absl::Status& status, absl::string_view why) {
  return absl::UnavailableError(absl::StrCat(status.message(), "; ", why));
}

// Where the server goes away and comes back, the lines of a file are sent again from the first, which alone makes the
// same sessions with the same lines in them, and what the caller has is passed over.
absl::Status ScoreOnline(const FileScoringFlags& flags, const v1::ScoreOptions& asked,
                         const std::function<void(const v1::SessionVerdict&)>& consume) {
  const auto client = Client::Connect(flags.server.server, {});
  ASSIGN_OR_RETURN(const v1::ModelDescription model, client->DescribeModel(flags.server.ref()));
  v1::ScoreLogsRequest first;
  *first.mutable_model() = PinnedModel(model);
  *first.mutable_options() = asked;
  std::error_code unreadable;
  const bool repeatable =
      !flags.follow && flags.data != "-" && std::filesystem::is_regular_file(flags.data, unreadable);
  GivenSessions given;
  absl::Time last_answer = absl::InfinitePast();
  Backoff backoff(kLongestServerBackoff);
  for (int in_vain = 0;;) {
    const uint64_t before = given.count();
    ASSIGN_OR_RETURN(const LogAttempt attempt, ScoreOnce(flags, first, client.get(), &given, consume));
    if (!attempt.same) {
      return Lost(absl::UnavailableError("the server went away"),
                  absl::StrCat(flags.data, " sent again made other sessions than before"));
    }
    if (attempt.call.ok()) return attempt.sent;
    const bool answered = attempt.last_answer > absl::InfinitePast();
    if (answered) {
      last_answer = attempt.last_answer;
      backoff.Reset();
    }
    in_vain = given.count() > before ? 0 : in_vain + (answered ? 1 : 0);
    const bool silent = absl::Now() - last_answer > absl::Seconds(flags.give_up_seconds);
    if (!absl::IsUnavailable(attempt.call) || silent || in_vain >= kMostInVain) return attempt.call;
    if (!repeatable) return Lost(attempt.call, "open sessions are lost: only the lines of a file can be sent again");
    if (flags.on_broken && !backoff.waited()) flags.on_broken(attempt.call);
    absl::SleepFor(backoff.Next());
  }
}

}  // namespace

bool IsLogData(const std::string& path, RowFormat format) {
  return format == RowFormat::kLog || (format == RowFormat::kByName && IsNamedLog(path));
}

absl::Status ScoreLog(const FileScoringFlags& flags, const v1::ScoreOptions& options,
                      const std::function<void(const v1::SessionVerdict&)>& consume) {
  if (!flags.entity_column.empty() || flags.event_time) {
    return UsageError("--entity-column, --event-time: are for rows; the model's recipe says how lines are grouped");
  }
  return flags.offline ? ScoreOffline(flags, options, consume) : ScoreOnline(flags, options, consume);
}

}  // namespace astray
