#include "client/commands/feedback.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "client/client.h"
#include "client/log_scoring.h"
#include "client/row_source.h"
#include "client/verdict_flags.h"
#include "engine/base/status_macros.h"
#include "engine/data/event_time.h"
#include "engine/data/line_reader.h"

namespace astray {
namespace {

struct Flags {
  ServerFlags server;
  std::string data, kind, rows, entity_column, segment_column, note, id;
  RowFormat input_format = RowFormat::kByName;
  bool each = false, json = false;
};

struct Range {
  uint64_t first = 1, last = std::numeric_limits<uint64_t>::max();
};

// "120" or "120-139"; all rows without a text.
absl::StatusOr<Range> ParseRange(const std::string& text) {
  if (text.empty()) return Range();
  const std::vector<std::string> ends = absl::StrSplit(text, '-');
  Range range;
  if (ends.size() <= 2 && absl::SimpleAtoi(ends.front(), &range.first) && absl::SimpleAtoi(ends.back(), &range.last) &&
      range.first >= 1 && range.first <= range.last) {
    return range;
  }
  return UsageError(absl::StrCat("--rows: expected a row's number or a range like 120-139, got '", text, "'"));
}

void Print(const v1::FeedbackResponse& reply, uint64_t row, std::ostream& out) {
  const v1::Verdict& verdict = reply.verdict();
  if (row > 0) out << "row " << row << ": ";
  out << absl::StrFormat("score %.6g now, %s; %s%d false alarms and %d confirmed anomalies are kept\n", verdict.score(),
                         verdict.anomalous() ? "anomalous" : "normal", reply.known() ? "known already; " : "",
                         reply.kept().false_alarms(), reply.kept().confirmed_anomalies());
}

absl::Status Send(const Flags& flags, const v1::FeedbackRequest& request, uint64_t row, Client* client,
                  CommandContext& context) {
  ASSIGN_OR_RETURN(const v1::FeedbackResponse reply, client->Feedback(request));
  if (flags.json) {
    context.out << ToJson(reply) << "\n";
  } else {
    Print(reply, row, context.out);
  }
  return absl::OkStatus();
}

absl::Status SendLines(const Flags& flags, v1::FeedbackRequest request, Client* client, CommandContext& context) {
  constexpr size_t kMostBytes = 1 << 20;
  ASSIGN_OR_RETURN(const Range range, ParseRange(flags.rows));
  ASSIGN_OR_RETURN(auto source, ByteSource::Open(flags.data));
  LineReader reader(std::move(source), flags.data, LineReader::LongLines::kCut);
  absl::string_view line;
  size_t bytes = 0;
  for (uint64_t number = 1; number <= range.last; ++number) {
    ASSIGN_OR_RETURN(const bool more, reader.Next(&line));
    if (!more) break;
    if (number < range.first) continue;
    bytes += line.size();
    if (bytes > kMostBytes)
      return absl::InvalidArgumentError("--data: expected the lines of one session, got over 1 MiB");
    request.add_lines(line.data(), line.size());
  }
  return Send(flags, request, 0, client, context);
}

// The rows of one entity up to the one judged: those of the range, and as many before it as a window takes.
class RecentRows {
 public:
  RecentRows(size_t window, const Range& range) : window_(window), range_(range) {}

  absl::Status Add(const Row& row) {
    constexpr size_t kMostRows = 8192;
    rows_.push_back(row);
    const bool in_range = row.number >= range_.first;
    judged_ += in_range ? 1 : 0;
    while (rows_.size() > std::max(window_, judged_)) rows_.pop_front();
    if (judged_ <= kMostRows) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("--rows: expected at most ", kMostRows, " rows; the last of them is judged"));
  }
  void JudgeAlone() { judged_ = std::min<size_t>(judged_, 1); }  // the row added last

  absl::Status Fill(v1::FeedbackRequest* request) const {
    request->clear_values();
    if (rows_.size() < window_) {
      return absl::InvalidArgumentError(
          absl::StrCat("rows: expected the ", window_, " rows of a window, got ", rows_.size()));
    }
    for (const Row& row : rows_) request->mutable_values()->Add(row.values.begin(), row.values.end());
    request->set_entity(rows_.back().entity);
    request->set_segment(rows_.back().segment);
    if (const auto time = ParseEventTime(rows_.back().timestamp); time.has_value()) {
      request->set_time_unix_seconds(*time);
    }
    return absl::OkStatus();
  }

 private:
  const size_t window_;
  const Range range_;
  std::deque<Row> rows_;
  size_t judged_ = 0;
};

absl::Status SendRows(const Flags& flags, const v1::ModelDescription& model, v1::FeedbackRequest request,
                      Client* client, CommandContext& context) {
  ASSIGN_OR_RETURN(const Range range, ParseRange(flags.rows));
  ASSIGN_OR_RETURN(const auto source, RowSource::Open(flags.data, {model.features().begin(), model.features().end()},
                                                      {.format = flags.input_format,
                                                       .entity_column = flags.entity_column,
                                                       .segment_column = flags.segment_column,
                                                       .sequence = model.recipe().features().sequence()}));
  std::map<std::string, RecentRows> entities;
  const RecentRows none(model.window(), range);
  Row row;
  uint64_t last = 0;
  std::string entity;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, source->Next(&row));
    if (!more || row.number > range.last) break;
    RecentRows& recent = entities.try_emplace(row.entity, none).first->second;
    RETURN_IF_ERROR(recent.Add(row));
    last = row.number;
    entity = row.entity;
    if (!flags.each || row.number < range.first) continue;
    recent.JudgeAlone();
    RETURN_IF_ERROR(recent.Fill(&request));
    RETURN_IF_ERROR(Send(flags, request, row.number, client, context));
  }
  if (last < range.first) {
    return absl::InvalidArgumentError(
        absl::StrCat("--rows: expected rows of the data, got ", range.first, " of ", last));
  }
  if (flags.each) return absl::OkStatus();
  RETURN_IF_ERROR(entities.at(entity).Fill(&request));
  return Send(flags, request, last, client, context);
}

absl::Status RunFeedback(const Flags& flags, CommandContext& context) {
  const auto client = Client::Connect(flags.server.server, {});
  ASSIGN_OR_RETURN(const v1::ModelDescription model, client->DescribeModel(flags.server.ref()));
  v1::FeedbackRequest request;
  *request.mutable_model() = PinnedModel(model);
  request.set_kind(flags.kind == "false-alarm" ? v1::FeedbackRequest::FALSE_ALARM
                                               : v1::FeedbackRequest::CONFIRMED_ANOMALY);
  request.set_note(flags.note);
  request.set_id(flags.id);
  return IsLogData(flags.data, flags.input_format) ? SendLines(flags, std::move(request), client.get(), context)
                                                   : SendRows(flags, model, std::move(request), client.get(), context);
}

}  // namespace

void AddFeedbackCommand(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = AddCommand(
      app, context, "feedback", "Say whether a verdict was right, for the next calibrations",
      "  astray feedback --server=localhost:8001 --model=pump --data=live.csv --rows=139 --kind=false-alarm\n"
      "  astray feedback --model=pump --data=live.csv --rows=120-139 --each --kind=confirmed --note='bearing changed'",
      [flags, &context] { return RunFeedback(*flags, context); });
  flags->server.AddServer(command);
  flags->server.AddModel(command);
  command->add_option("--data", flags->data, "CSV or JSON lines, or the log lines of a session; - is standard input")
      ->required();
  AddInputFormat(command, &flags->input_format);
  command->add_option("--kind", flags->kind, "false-alarm or confirmed")
      ->required()
      ->check(CLI::IsMember({"false-alarm", "confirmed"}));
  command->add_option(
      "--rows", flags->rows,
      "Rows as score numbers them, from 1: the verdict is that of the last (default: all); the rows that "
      "its window takes are read from before it");
  command->add_flag("--each", flags->each, "Each of these rows is a verdict of its own");
  command->add_option("--entity-column", flags->entity_column, "Column that says whose row it is");
  command->add_option("--segment-column", flags->segment_column,
                      "Column that says by which segment it is judged: a false alarm counts for its threshold");
  command->add_option("--note", flags->note, "Kept with it, at most 1 KiB");
  command->add_option("--id", flags->id, "Kept with it, at most 256 bytes");
  command->add_flag("--json", flags->json, "Print JSON");
}

}  // namespace astray
