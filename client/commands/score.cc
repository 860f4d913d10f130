#include "client/commands/score.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/file_scoring.h"
#include "client/log_scoring.h"
#include "client/session_writer.h"
#include "client/verdict_flags.h"
#include "client/verdict_spool.h"
#include "client/verdict_writer.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

struct Flags {
  FileScoringFlags file;
  VerdictFlags verdicts;
  std::optional<double> false_discovery_rate;
};

// Shows how far it is, where a terminal watches, and what came out in the end.
class Tally {
 public:
  Tally(CommandContext* context, const char* what) : context_(context), what_(what) {}

  void Count(size_t rows, size_t anomalies) {
    constexpr uint64_t kStep = 10'000;
    const uint64_t before = rows_;
    rows_ += rows;
    anomalies_ += anomalies;
    if (rows_ / kStep != before / kStep && context_->terminal) {
      context_->err << "\r\x1b[K" << rows_ << " " << what_ << ", " << anomalies_ << " anomalous" << std::flush;
    }
  }
  void Count(const v1::Verdict& verdict) { Count(1, verdict.anomalous() ? 1 : 0); }
  void Finish() {
    if (context_->terminal) context_->err << "\r\x1b[K";
    context_->err << rows_ << " " << what_ << ", " << anomalies_ << " anomalous\n";
  }

 private:
  CommandContext* context_;
  const char* what_;
  uint64_t rows_ = 0, anomalies_ = 0;
};

absl::Status RunScoreLog(const Flags& flags, CommandContext& context) {
  if (flags.false_discovery_rate) return UsageError("--false-discovery-rate: is for rows, not for log lines");
  if (flags.file.hindsight) return UsageError("--hindsight: is for rows, not for log lines");
  RETURN_IF_ERROR(SessionWriter::CheckFilter(flags.verdicts.filter));
  SessionWriter writer(&context.out, flags.verdicts.format, flags.verdicts.filter);
  Tally tally(&context, "sessions");
  RETURN_IF_ERROR(ScoreLog(flags.file, flags.verdicts.ToRequest(), [&](const v1::SessionVerdict& session) {
    writer.Write(session);
    tally.Count(session.verdict());
  }));
  tally.Finish();
  return absl::OkStatus();
}

absl::Status RunScore(const Flags& flags, CommandContext& context) {
  if (IsLogData(flags.file.data, flags.file.input_format)) return RunScoreLog(flags, context);
  if (flags.file.hindsight && RowSource::IsFasta(flags.file.data, flags.file.input_format)) {
    return UsageError("--hindsight: is for rows that follow each other, not for sequences");
  }
  VerdictFilter filter = flags.verdicts.filter;
  std::optional<VerdictSpool> spool;
  if (flags.false_discovery_rate) {
    if (filter == VerdictFilter::kAnomalies) filter = VerdictFilter::kSelected;
    ASSIGN_OR_RETURN(spool, VerdictSpool::Open());
  }
  VerdictWriter writer(&context.out, flags.verdicts.format, filter);
  if (spool) writer.ShowSelected();
  if (!flags.file.entity_column.empty()) writer.ShowEntities();
  Tally tally(&context, "rows");
  VerdictOutput output;
  if (spool) {
    output.consume = [&](const Row& row, const v1::Verdict& verdict) {
      tally.Count(verdict);
      spool->Add(row, verdict);
    };
  } else {
    output.format = [&](const Row& row, const v1::Verdict& verdict, std::string* text) {
      writer.AppendLine(row, verdict, text);
    };
    output.write = [&](absl::string_view text, size_t rows, size_t anomalies) {
      tally.Count(rows, anomalies);
      writer.WriteLines(text);
    };
  }
  RETURN_IF_ERROR(ScoreFile(
      flags.file, flags.verdicts.ToRequest(), [](const std::vector<std::string>& /*features*/, size_t /*units*/) {},
      output));
  uint64_t selected = 0;
  if (spool) {
    RETURN_IF_ERROR(spool->Finish(*flags.false_discovery_rate, [&](const Row& row, const v1::Verdict& verdict) {
      selected += verdict.selected() ? 1 : 0;
      static_cast<void>(writer.Write(row, verdict));
    }));
  }
  tally.Finish();
  if (spool) {
    context.err << selected << " rows selected at a false discovery rate of " << *flags.false_discovery_rate << "\n";
  }
  return absl::OkStatus();
}

}  // namespace

void AddScoreCommand(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = AddCommand(app, context, "score", "Score the rows or log lines of a file, one verdict a line",
                                 "  astray score --server=localhost:8001 --model=pump --data=today.csv\n"
                                 "  astray score --model=pump --data=today.csv --format=jsonl --anomalies-only\n"
                                 "  astray score --model=hdfs --data=hdfs.log --anomalies-only\n"
                                 "  astray score --offline --model=models/pump/1 --data=today.csv\n"
                                 "  astray score --offline --hindsight --model=models/pump/1 --data=today.csv",
                                 [flags, &context] { return RunScore(*flags, context); });
  flags->file.Add(command);
  flags->verdicts.Add(command);
  flags->verdicts.AddAlarmsOnly(command);
  command
      ->add_option("--false-discovery-rate", flags->false_discovery_rate,
                   "Select rows of the whole file, of which this share is false in the mean (Benjamini-Hochberg on "
                   "p-values); --anomalies-only then prints those")
      ->check(CLI::Range(1e-9, 1 - 1e-9));
  CLI::Option* hindsight = command->add_flag("--hindsight", flags->file.hindsight,
                                             "With --offline: judge each row once those after it are known, which says "
                                             "better which rows are not normal, but not why");
  hindsight->needs(command->get_option("--offline"));
  for (const char* names_features : {"--top", "--explain-all", "--counterfactual"}) {
    hindsight->excludes(command->get_option(names_features));
  }
}

}  // namespace astray
