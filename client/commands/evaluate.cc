#include "client/commands/evaluate.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/evaluation.h"
#include "client/fasta_rows.h"
#include "client/labelled_scoring.h"
#include "client/log_rows.h"
#include "client/offline_detector.h"
#include "client/report_page.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"
#include "engine/data/csv_reader.h"

namespace astray {
namespace {

struct Flags {
  std::string model, data, labels, report, entity_column, segment_column, label_column = "label",
                                                                          culprit_column = "culprits";
  uint64_t epoch = 0;
  bool json = false, time_ordered = false;
};

struct Evaluated {
  LabelledScores scores;
  bool time_ordered = false;
};

LabelledScoring::Options ScoringOptions(const Flags& flags, const Detector& detector, bool has_times) {
  return {.time_ordered = flags.time_ordered || IsTimeOrdered(detector, has_times)};
}

// Of rows that are all there: one a session or a sequence, with a name each.
absl::StatusOr<Evaluated> ScoreAll(const Flags& flags, const Detector& detector, const Dataset& data,
                                   const std::vector<std::string>& names) {
  LabelledScoring::Options options = ScoringOptions(flags, detector, data.has_times());
  options.named = true;
  LabelledScoring scoring(&detector, data.feature_names, options);
  for (size_t row = 0; row < data.rows(); ++row) {
    RETURN_IF_ERROR(scoring.Add({.values = data.row(row), .label = data.labels[row], .name = names[row]}));
  }
  ASSIGN_OR_RETURN(LabelledScores scores, scoring.Finish());
  return Evaluated{.scores = std::move(scores), .time_ordered = options.time_ordered};
}

// One row a session.
absl::StatusOr<Evaluated> ScoreSessions(const Flags& flags, const Detector& detector, const LogTransform& log,
                                        CommandContext& context) {
  ASSIGN_OR_RETURN(const LabelledLog data, ReadLabelledSessions(flags.data, log, flags.labels, context.err));
  return ScoreAll(flags, detector, data.rows, data.keys);
}

absl::StatusOr<Evaluated> ScoreSequences(const Flags& flags, const Detector& detector) {
  std::vector<std::string> names;
  ASSIGN_OR_RETURN(const Dataset rows, ReadFasta(flags.data, detector.model().recipe.features().sequence(), &names));
  if (!rows.labels.empty()) return ScoreAll(flags, detector, rows, names);
  return absl::InvalidArgumentError(
      absl::StrCat(flags.data, ": expected label=1 in the headers of anomalies, got none"));
}

// Row by row.
absl::StatusOr<Evaluated> ScoreCsv(const Flags& flags, const Detector& detector) {
  CsvOptions options;
  ASSIGN_OR_RETURN(const auto header, CsvReader::Open(flags.data, options));
  const auto& names = header->feature_names();
  options.label_column = flags.label_column;
  const bool has_culprits = std::find(names.begin(), names.end(), flags.culprit_column) != names.end();
  if (has_culprits) options.culprit_column = flags.culprit_column;
  options.entity_column = flags.entity_column;
  options.segment_column = flags.segment_column;
  options.feature_names = detector.model().pipeline.feature_names();
  ASSIGN_OR_RETURN(const auto reader, CsvReader::Open(flags.data, options));
  LabelledScoring::Options scored = ScoringOptions(flags, detector, reader->has_timestamps());
  scored.named = reader->has_timestamps() && !flags.report.empty();  // nobody else shows them
  scored.has_culprits = has_culprits;
  LabelledScoring scoring(&detector, reader->feature_names(), scored);
  Row row;
  bool any = false;
  for (;; any = true) {
    ASSIGN_OR_RETURN(const bool more, reader->Next(&row));
    if (!more) break;
    RETURN_IF_ERROR(scoring.Add({.values = row.values,
                                 .label = row.label,
                                 .entity = row.entity,
                                 .segment = row.segment,
                                 .culprits = row.culprits,
                                 .name = row.timestamp}));
  }
  if (!any) return absl::InvalidArgumentError(absl::StrCat(flags.data, ": expected rows, got a header alone"));
  ASSIGN_OR_RETURN(LabelledScores scores, scoring.Finish());
  return Evaluated{.scores = std::move(scores), .time_ordered = scored.time_ordered};
}

absl::StatusOr<Evaluated> ScoreLabelled(const Flags& flags, const Detector& detector, CommandContext& context) {
  if (const LogTransform* log = detector.model().pipeline.log()) return ScoreSessions(flags, detector, *log, context);
  if (!flags.labels.empty()) return UsageError("--labels: is for models of logs; rows have a label column");
  return IsNamedFasta(flags.data) ? ScoreSequences(flags, detector) : ScoreCsv(flags, detector);
}

constexpr int kNameWidth = 24;

// Names stand `indent` further to the right, what they name does not.
void PrintName(absl::string_view name, int indent, std::ostream& out) {
  out << absl::StrFormat("%*s%-*s ", indent, "", kNameWidth - indent, name);
}

// What Evaluation and HindsightEvaluation have in common.
template <typename Measures>
void PrintMeasures(const Measures& e, int indent, std::ostream& out) {
  PrintName("AUROC", indent, out);
  out << absl::StrFormat("%.4f\n", e.auroc());
  PrintName("average precision", indent, out);
  out << absl::StrFormat("%.4f\n", e.average_precision());
  PrintName("F1 at the threshold", indent, out);
  out << absl::StrFormat("%.4f (precision %.4f, recall %.4f); best possible %.4f\n", e.f1_at_threshold(),
                         e.precision_at_threshold(), e.recall_at_threshold(), e.best_f1());
  PrintName("false-positive rate", indent, out);
  out << absl::StrFormat("%.4f at a threshold of %.6g\n", e.false_positive_rate(), e.threshold());
}

void PrintRanges(const v1::Evaluation& e, std::ostream& out) {
  PrintName("VUS-PR", 0, out);
  out << absl::StrFormat("%.4f (window of %d rows)\n", e.vus_pr(), e.vus_pr_window());
  PrintName("anomalous ranges found", 0, out);
  out << absl::StrFormat("%d of %d", e.ranges_detected(), e.ranges());
  if (e.ranges_detected() > 0) {
    out << absl::StrFormat("; after %.1f rows on average, median %.1f", e.detection_delay_rows_mean(),
                           e.detection_delay_rows_median());
  }
  out << "\n";
}

void PrintHindsight(const v1::HindsightEvaluation& e, std::ostream& out) {
  constexpr int kIndent = 2;
  PrintName("in hindsight", 0, out);
  out << absl::StrFormat("each row once the rows after it are known: %d scored, %d flagged\n", e.scored_rows(),
                         e.flagged_rows());
  PrintMeasures(e, kIndent, out);
  PrintName("VUS-PR", kIndent, out);
  out << absl::StrFormat("%.4f\n", e.vus_pr());
}

void Print(const v1::Evaluation& e, bool culprits, std::ostream& out) {
  PrintName("model", 0, out);
  out << absl::StrFormat("%s version %d\n", e.model(), e.version());
  PrintName("rows", 0, out);
  out << absl::StrFormat("%d, %d scored, %d anomalous, %d flagged\n", e.rows(), e.scored_rows(), e.anomalous_rows(),
                         e.flagged_rows());
  PrintMeasures(e, 0, out);
  if (e.time_ordered()) PrintRanges(e, out);
  if (culprits) {
    PrintName("true culprit named", 0, out);
    out << absl::StrFormat("%.1f %% first, %.1f %% among the first three\n", 100 * e.culprit_top1_rate(),
                           100 * e.culprit_top3_rate());
    PrintName("... by repair", 0, out);
    out << absl::StrFormat("%.1f %% first\n", 100 * e.counterfactual_top1_rate());
  }
  if (e.has_hindsight()) PrintHindsight(e.hindsight(), out);
  PrintName("scoring", 0, out);
  out << absl::StrFormat("%.0f rows/s\n", e.rows_per_second());
}

absl::Status RunEvaluate(const Flags& flags, CommandContext& context) {
  ASSIGN_OR_RETURN(const auto detector, OpenDetector(flags.model, flags.epoch));
  ASSIGN_OR_RETURN(const Evaluated evaluated, ScoreLabelled(flags, *detector, context));
  const LabelledScores& scores = evaluated.scores;
  const v1::Evaluation evaluation = Evaluate(*detector, scores, evaluated.time_ordered);
  if (!flags.report.empty()) {
    const std::string file = std::filesystem::path(flags.data).filename().string();
    const ReportInput input = {*detector, scores, evaluation, file};
    RETURN_IF_ERROR(WriteFileAtomically(flags.report, ReportPage(input)));
    context.err << "report: " << flags.report << "\n";
  }
  if (flags.json) {
    context.out << ToJson(evaluation) << "\n";
  } else {
    Print(evaluation, scores.has_culprits, context.out);
  }
  return absl::OkStatus();
}

}  // namespace

void AddEvaluateCommand(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      AddCommand(app, context, "evaluate", "Measure a model on labelled rows or sessions, without a server",
                 "  astray evaluate --model=models/pump/1 --data=test.csv --label-column=label --report=report.html\n"
                 "  astray evaluate --model=models/hdfs/1 --data=test.log --labels=labels.csv",
                 [flags, &context] { return RunEvaluate(*flags, context); });
  command->add_option("--model", flags->model, "Artifact: models/<name>/<version>")->required();
  command
      ->add_option("--data", flags->data,
                   "CSV with a label column, FASTA with label=1 in headers, or log lines; gzip too")
      ->required();
  command->add_option("--label-column", flags->label_column, "1 or anomaly marks anomalies")->capture_default_str();
  command->add_option("--entity-column", flags->entity_column, "Column that says whose row it is: no window spans two");
  command->add_option("--segment-column", flags->segment_column,
                      "Column that says by which of the calibration's segments a row is judged");
  command->add_option("--labels", flags->labels,
                      "Models of logs: CSV of session key and label (0, 1, normal, anomaly)");
  command->add_option("--culprit-column", flags->culprit_column, "Names the truly faulty features, where it is there")
      ->capture_default_str();
  command->add_option("--epoch", flags->epoch, "Calibration that a server stored (default: the artifact's)");
  command->add_option("--report", flags->report, "Write a page with curves and alarms into this HTML file");
  command->add_flag("--time-ordered", flags->time_ordered,
                    "Rows follow each other in time (default: where they have timestamps or the model judges windows)");
  command->add_flag("--json", flags->json, "Print JSON");
}

}  // namespace astray
