#include "client/commands/score.h"

#include <memory>

#include "client/file_scoring.h"
#include "client/verdict_flags.h"
#include "client/verdict_writer.h"

namespace astray {
namespace {

struct Flags {
  FileScoringFlags file;
  VerdictFlags verdicts;
};

// Shows how far it is, where a terminal watches, and what came out in the end.
class Tally {
 public:
  explicit Tally(CommandContext* context) : context_(context) {}

  void Count(const v1::Verdict& verdict) {
    anomalies_ += verdict.anomalous() ? 1 : 0;
    if (++rows_ % 10'000 == 0 && context_->terminal) {
      context_->err << "\r\x1b[K" << rows_ << " rows, " << anomalies_ << " anomalous" << std::flush;
    }
  }
  void Finish() {
    if (context_->terminal) context_->err << "\r\x1b[K";
    context_->err << rows_ << " rows, " << anomalies_ << " anomalous\n";
  }

 private:
  CommandContext* context_;
  uint64_t rows_ = 0, anomalies_ = 0;
};

absl::Status RunScore(const Flags& flags, CommandContext& context) {
  VerdictWriter writer(&context.out, flags.verdicts.format, flags.verdicts.anomalies_only);
  if (!flags.file.entity_column.empty()) writer.ShowEntities();
  Tally tally(&context);
  absl::Status status = ScoreFile(
      flags.file, flags.verdicts.ToRequest(), [](const std::vector<std::string>& /*features*/, size_t /*units*/) {},
      [&](const Row& row, const v1::Verdict& verdict) {
        static_cast<void>(writer.Write(row, verdict));
        tally.Count(verdict);
      });
  if (status.ok()) tally.Finish();
  return status;
}

}  // namespace

void AddScoreCommand(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = AddCommand(app, context, "score", "Score the rows of a file, one verdict a line",
                                 "  astray score --server=localhost:8001 --model=pump --data=today.csv\n"
                                 "  astray score --model=pump --data=today.csv --format=jsonl --anomalies-only\n"
                                 "  astray score --offline --model=models/pump/1 --data=today.csv",
                                 [flags, &context] { return RunScore(*flags, context); });
  flags->file.Add(command);
  flags->verdicts.Add(command);
}

}  // namespace astray
