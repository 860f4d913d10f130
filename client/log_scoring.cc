#include "client/log_scoring.h"

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
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

absl::Status ScoreOnline(const FileScoringFlags& flags, const v1::ScoreOptions& asked,
                         const std::function<void(const v1::SessionVerdict&)>& consume) {
  const auto client = Client::Connect(flags.server.server, {});
  ASSIGN_OR_RETURN(const v1::ModelDescription model, client->DescribeModel(flags.server.ref()));
  v1::ScoreLogsRequest first;
  *first.mutable_model() = PinnedModel(model);
  *first.mutable_options() = asked;
  const StopEvent stop;
  ASSIGN_OR_RETURN(LineReader reader, OpenLines(flags, stop.fd()));
  const std::unique_ptr<ScoreLogStreamCall> call = client->ScoreLogStream();
  std::thread taker([&] {
    v1::ScoreLogsResponse response;
    while (call->Read(&response)) {
      for (const v1::SessionVerdict& session : response.sessions()) consume(session);
    }
    stop.Set();  // nobody answers any more
  });
  absl::Status sent = SendLines(&reader, flags.message_rows == 1 ? 1 : kMessageBytes, std::move(first), call.get());
  call->WritesDone();
  taker.join();
  RETURN_IF_ERROR(call->Finish());
  return sent;
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
