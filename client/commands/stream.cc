#include "client/commands/stream.h"

#include <memory>
#include <vector>

#include "client/client.h"
#include "client/row_source.h"
#include "client/stream_scoring.h"
#include "client/verdict_flags.h"
#include "client/verdict_writer.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

struct Flags {
  ServerFlags server;
  VerdictFlags verdicts;
  std::string source = "stdin";
  RowFormat input_format = RowFormat::kByName;
};

absl::Status RunStream(const Flags& flags, CommandContext& context) {
  const auto client = Client::Connect(flags.server.server, {});
  ASSIGN_OR_RETURN(const v1::ModelDescription model, client->DescribeModel(flags.server.ref()));
  const std::vector<std::string> features(model.features().begin(), model.features().end());
  VerdictWriter writer(&context.out, flags.verdicts.format, flags.verdicts.anomalies_only);
  StreamScoringOptions options;
  options.model = PinnedModel(model);
  options.score = flags.verdicts.ToRequest();
  return ScoreThroughServer(
      client.get(), options,
      [&](int stop_fd) {
        return RowSource::Open(flags.source == "stdin" ? "-" : flags.source, features,
                               {.format = flags.input_format, .stop_fd = stop_fd});
      },
      [&](const Row& row, const v1::Verdict& verdict) {
        writer.Write(row.number, row.timestamp, verdict);
        context.out.flush();  // somebody waits for this line
      });
}

}  // namespace

void AddStreamCommand(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = AddCommand(app, context, "stream", "Score rows as they come, one verdict a line",
                                 "  tail -f -n +1 live.csv | astray stream --server=localhost:8001 --model=pump\n"
                                 "  astray stream --model=pump --source=live.jsonl --format=jsonl --anomalies-only",
                                 [flags, &context] { return RunStream(*flags, context); });
  flags->server.AddServer(command);
  flags->server.AddModel(command);
  command->add_option("--source", flags->source, "stdin, or a file (a named pipe too)")->capture_default_str();
  AddInputFormat(command, &flags->input_format);
  flags->verdicts.Add(command);
}

}  // namespace astray
