#include "client/commands/stream.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/file_scoring.h"
#include "client/log_scoring.h"
#include "client/mqtt_address.h"
#include "client/mqtt_sink.h"
#include "client/notes.h"
#include "client/session_writer.h"
#include "client/verdict_flags.h"
#include "client/verdict_writer.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

struct Flags {
  FileScoringFlags file = {.message_rows = 1, .give_up_seconds = 300};  // no row waits for the next
  VerdictFlags verdicts;
  std::string source = "stdin", sink = "stdout";
};

// Whether the source says whose its rows are. A usage error where its URL is wrong, before anything is connected.
absl::StatusOr<bool> HasEntities(const Flags& flags) {
  const bool named = !flags.file.entity_column.empty();
  if (IsPrometheusSource(flags.source)) {
    RETURN_IF_ERROR(PrometheusClient::Make(flags.source, flags.file.prometheus, -1).status());
    if (named) return UsageError("--entity-column: expected none with prometheus:");
  } else if (!flags.file.prometheus.queries.empty()) {
    return UsageError("--query: expected --source=prometheus:http://host:9090 with it");
  }
  if (!IsMqttUrl(flags.source)) return named;
  ASSIGN_OR_RETURN(const MqttAddress address, ParseMqttSource(flags.source));
  if (named && address.entity_from_topic) return UsageError("--entity-column: expected none beside entity=topic");
  return named || address.entity_from_topic;
}

absl::StatusOr<std::unique_ptr<VerdictSink>> MakeVerdictSink(const Flags& flags, bool entities, CommandContext& context,
                                                             Notes* notes) {
  if (IsMqttUrl(flags.sink)) {
    ASSIGN_OR_RETURN(const MqttAddress address, ParseMqttSink(flags.sink));
    return MqttSink::Open(address, flags.verdicts.filter, entities, notes);
  }
  if (flags.sink != "stdout") return UsageError("--sink: expected stdout or mqtt://host/topic");
  auto writer = std::make_unique<VerdictWriter>(&context.out, flags.verdicts.format, flags.verdicts.filter);
  if (entities) writer->ShowEntities();
  return writer;
}

absl::Status StreamLog(const Flags& flags, const FileScoringFlags& file, CommandContext& context) {
  if (flags.sink != "stdout") return UsageError("--sink: expected stdout with log lines");
  RETURN_IF_ERROR(SessionWriter::CheckFilter(flags.verdicts.filter));
  SessionWriter writer(&context.out, flags.verdicts.format, flags.verdicts.filter);
  return ScoreLog(file, flags.verdicts.ToRequest(), [&](const v1::SessionVerdict& session) {
    writer.Write(session);
    context.out.flush();  // somebody waits for this line
  });
}

absl::Status RunStream(const Flags& flags, CommandContext& context) {
  FileScoringFlags file = flags.file;
  file.data = flags.source == "stdin" ? "-" : flags.source;
  if (IsLogData(file.data, file.input_format)) return StreamLog(flags, file, context);
  Notes notes(&context.err);
  ASSIGN_OR_RETURN(const bool entities, HasEntities(flags));
  ASSIGN_OR_RETURN(const std::unique_ptr<VerdictSink> sink, MakeVerdictSink(flags, entities, context, &notes));
  file.notes = &notes;
  file.on_broken = [&notes](const absl::Status& status) {
    notes.Say(absl::StrCat(status.message(), "; trying again"));
  };
  absl::Status written;
  absl::Status scored = ScoreFile(
      file, flags.verdicts.ToRequest(), [](const std::vector<std::string>& /*features*/, size_t /*units*/) {},
      [&](const Row& row, const v1::Verdict& verdict) {
        if (written.ok()) written = sink->Write(row, verdict);
        context.out.flush();  // somebody waits for this line
      });
  if (written.ok()) written = sink->Finish();
  return scored.ok() ? written : scored;
}

}  // namespace

void AddStreamCommand(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = AddCommand(
      app, context, "stream", "Score rows as they come, one verdict a line",
      "  tail -f -n +1 live.csv | astray stream --server=localhost:8001 --model=pump\n"
      "  astray stream --model=pump --source=live.csv --follow\n"
      "  astray stream --model=service --source=/var/log/service.log --follow --anomalies-only\n"
      "  astray stream --model=pump --source=live.jsonl --format=jsonl --anomalies-only\n"
      "  astray stream --model=pump --source='mqtt://broker/plant/pumps/+?client-id=astray-1&entity=topic' \\\n"
      "    --sink=mqtt://broker/plant/verdicts\n"
      "  astray stream --model=nodes --source=prometheus:http://localhost:9090 \\\n"
      "    --query='rate(node_cpu_seconds_total[1m])'",
      [flags, &context] { return RunStream(*flags, context); });
  flags->file.server.AddServer(command);
  flags->file.server.AddModel(command);
  command
      ->add_option("--source", flags->source,
                   "stdin, a file (a named pipe too), or mqtt://[user:password@]host[:port]/topic[?client-id=...&"
                   "group=...&entity=topic], or prometheus:http://host:9090 with --query")
      ->capture_default_str();
  command->add_flag("--follow", flags->file.follow, "Wait for more at the file's end, go on when it is rotated");
  AddInputFormat(command, &flags->file.input_format);
  flags->file.AddEntities(command);
  flags->file.prometheus.Add(command);
  command->add_option("--sink", flags->sink, "stdout, or mqtt://[user:password@]host[:port]/topic: a JSON object each")
      ->capture_default_str();
  flags->verdicts.Add(command);
  flags->verdicts.AddAlarmsOnly(command);
}

}  // namespace astray
