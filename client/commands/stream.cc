#include "client/commands/stream.h"

#include <memory>
#include <string>
#include <vector>

#include "client/file_scoring.h"
#include "client/verdict_flags.h"
#include "client/verdict_writer.h"

namespace astray {
namespace {

struct Flags {
  FileScoringFlags file = {.message_rows = 1};  // no row waits for the next
  VerdictFlags verdicts;
  std::string source = "stdin";
};

absl::Status RunStream(const Flags& flags, CommandContext& context) {
  FileScoringFlags file = flags.file;
  file.data = flags.source == "stdin" ? "-" : flags.source;
  VerdictWriter writer(&context.out, flags.verdicts.format, flags.verdicts.anomalies_only);
  if (!flags.file.entity_column.empty()) writer.ShowEntities();
  return ScoreFile(
      file, flags.verdicts.ToRequest(), [](const std::vector<std::string>& /*features*/, size_t /*units*/) {},
      [&](const Row& row, const v1::Verdict& verdict) {
        writer.Write(row, verdict);
        context.out.flush();  // somebody waits for this line
      });
}

}  // namespace

void AddStreamCommand(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = AddCommand(app, context, "stream", "Score rows as they come, one verdict a line",
                                 "  tail -f -n +1 live.csv | astray stream --server=localhost:8001 --model=pump\n"
                                 "  astray stream --model=pump --source=live.csv --follow\n"
                                 "  astray stream --model=pump --source=live.jsonl --format=jsonl --anomalies-only",
                                 [flags, &context] { return RunStream(*flags, context); });
  flags->file.server.AddServer(command);
  flags->file.server.AddModel(command);
  command->add_option("--source", flags->source, "stdin, or a file (a named pipe too)")->capture_default_str();
  command->add_flag("--follow", flags->file.follow, "Wait for more at the file's end, go on when it is rotated");
  AddInputFormat(command, &flags->file.input_format);
  flags->file.AddEntityColumn(command);
  flags->verdicts.Add(command);
}

}  // namespace astray
