#include "client/commands/evaluate.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "astray/v1/evaluation.pb.h"
#include "client/fasta_rows.h"
#include "client/log_rows.h"
#include "client/offline_detector.h"
#include "engine/base/status_macros.h"
#include "engine/data/csv_reader.h"
#include "engine/detect/ranking.h"

namespace astray {
namespace {

struct Flags {
  std::string model, data, labels, label_column = "label", culprit_column = "culprits";
  uint64_t epoch = 0;
  bool json = false;
};

// One row a session.
absl::StatusOr<Dataset> ReadSessions(const Flags& flags, const LogTransform& log, CommandContext& context) {
  if (flags.labels.empty()) return UsageError("--labels: expected a CSV of session keys and labels, got none");
  ASSIGN_OR_RETURN(const SessionLabels labels, ReadSessionLabels(flags.labels));
  ASSIGN_OR_RETURN(LabelledLog data, ReadLabelledLog(flags.data, log, labels));
  if (data.lines_without_session > 0) {
    context.err << "note: " << data.lines_without_session << " lines belong to no session\n";
  }
  if (data.unlabelled > 0) {
    context.err << "note: " << data.unlabelled << " sessions have no label and count as normal\n";
  }
  if (data.unused > 0) context.err << "note: " << data.unused << " labels are of sessions that never occur\n";
  return std::move(data.rows);
}

absl::StatusOr<Dataset> ReadLabelled(const Flags& flags, const Detector& detector, CommandContext& context) {
  if (const LogTransform* log = detector.model().pipeline.log()) return ReadSessions(flags, *log, context);
  if (!flags.labels.empty()) return UsageError("--labels: is for models of logs; rows have a label column");
  if (IsNamedFasta(flags.data)) {
    ASSIGN_OR_RETURN(Dataset data, ReadFasta(flags.data, detector.model().recipe.features().sequence()));
    if (!data.labels.empty()) return data;
    return absl::InvalidArgumentError(
        absl::StrCat(flags.data, ": expected label=1 in the headers of anomalies, got none"));
  }
  CsvOptions options;
  ASSIGN_OR_RETURN(const auto header, CsvReader::Open(flags.data, options));
  const auto& names = header->feature_names();
  options.label_column = flags.label_column;
  if (std::find(names.begin(), names.end(), flags.culprit_column) != names.end()) {
    options.culprit_column = flags.culprit_column;
  }
  options.feature_names = detector.model().pipeline.feature_names();
  return ReadCsv(flags.data, options);
}

// How often one of the first `most` contributors of a flagged anomalous row is a true culprit.
double CulpritRate(const Detector& detector, const Dataset& data, const ScoreResult& result, size_t most) {
  uint64_t hits = 0, rows = 0;
  for (size_t i = 0; i < result.verdicts.size(); ++i) {
    const size_t row = i + detector.window() - 1;
    if (!result.verdicts[i].anomalous || data.labels[row] == 0 || data.culprits[row].empty()) continue;
    ++rows;
    const std::vector<std::string> culprits = absl::StrSplit(data.culprits[row], ';');
    for (size_t k = 0; k < std::min<size_t>(most, result.verdicts[i].contributions); ++k) {
      const Contribution& contribution = result.contributions[i * result.contributions_stride + k];
      const std::string& name = data.feature_names[contribution.feature];
      if (std::find(culprits.begin(), culprits.end(), name) != culprits.end()) {
        ++hits;
        break;
      }
    }
  }
  return rows == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(rows);
}

v1::Evaluation Evaluate(const Detector& detector, const Dataset& data, const ScoreResult& result, double seconds) {
  std::vector<float> scores;
  std::vector<uint8_t> labels;
  for (size_t i = 0; i < result.verdicts.size(); ++i) {
    if (result.verdicts[i].state != Verdict::State::kScored) continue;
    scores.push_back(result.verdicts[i].score);
    labels.push_back(data.labels[i + detector.window() - 1]);
  }
  const Confusion confusion = CountAbove(scores, labels, 1.0f);
  v1::Evaluation evaluation;
  evaluation.set_model(detector.model().name);
  evaluation.set_version(static_cast<int32_t>(detector.model().version));
  evaluation.set_rows(static_cast<uint32_t>(data.rows()));
  evaluation.set_scored_rows(static_cast<uint32_t>(scores.size()));
  evaluation.set_anomalous_rows(static_cast<uint32_t>(confusion.true_positives + confusion.false_negatives));
  evaluation.set_flagged_rows(static_cast<uint32_t>(confusion.true_positives + confusion.false_positives));
  evaluation.set_auroc(Auroc(scores, labels));
  evaluation.set_average_precision(AveragePrecision(scores, labels));
  evaluation.set_f1_at_threshold(confusion.f1());
  evaluation.set_best_f1(BestF1(scores, labels));
  evaluation.set_precision_at_threshold(confusion.precision());
  evaluation.set_recall_at_threshold(confusion.recall());
  evaluation.set_false_positive_rate(confusion.false_positive_rate());
  evaluation.set_threshold(detector.calibration().threshold());
  evaluation.set_rows_per_second(seconds > 0 ? static_cast<double>(data.rows()) / seconds : 0);
  if (!data.culprits.empty()) {
    evaluation.set_culprit_top1_rate(CulpritRate(detector, data, result, 1));
    evaluation.set_culprit_top3_rate(CulpritRate(detector, data, result, 3));
  }
  return evaluation;
}

void Print(const v1::Evaluation& e, bool culprits, std::ostream& out) {
  out << absl::StrFormat("%-24s %s version %d\n", "model", e.model(), e.version());
  out << absl::StrFormat("%-24s %d, %d scored, %d anomalous, %d flagged\n", "rows", e.rows(), e.scored_rows(),
                         e.anomalous_rows(), e.flagged_rows());
  out << absl::StrFormat("%-24s %.4f\n%-24s %.4f\n", "AUROC", e.auroc(), "average precision", e.average_precision());
  out << absl::StrFormat("%-24s %.4f (precision %.4f, recall %.4f); best possible %.4f\n", "F1 at the threshold",
                         e.f1_at_threshold(), e.precision_at_threshold(), e.recall_at_threshold(), e.best_f1());
  out << absl::StrFormat("%-24s %.4f at a threshold of %.6g\n", "false-positive rate", e.false_positive_rate(),
                         e.threshold());
  if (culprits) {
    out << absl::StrFormat("%-24s %.1f %% first, %.1f %% among the first three\n", "true culprit named",
                           100 * e.culprit_top1_rate(), 100 * e.culprit_top3_rate());
  }
  out << absl::StrFormat("%-24s %.0f rows/s\n", "scoring", e.rows_per_second());
}

absl::Status RunEvaluate(const Flags& flags, CommandContext& context) {
  ASSIGN_OR_RETURN(const auto detector, OpenDetector(flags.model, flags.epoch));
  ASSIGN_OR_RETURN(const Dataset data, ReadLabelled(flags, *detector, context));
  ScoreResult result;
  const auto start = std::chrono::steady_clock::now();
  RETURN_IF_ERROR(detector->Score(data.values, {}, &result));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  const v1::Evaluation evaluation = Evaluate(*detector, data, result, seconds.count());
  if (flags.json) {
    context.out << ToJson(evaluation) << "\n";
  } else {
    Print(evaluation, !data.culprits.empty(), context.out);
  }
  return absl::OkStatus();
}

}  // namespace

void AddEvaluateCommand(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      AddCommand(app, context, "evaluate", "Measure a model on labelled rows or sessions, without a server",
                 "  astray evaluate --model=models/pump/1 --data=test.csv --label-column=label --json\n"
                 "  astray evaluate --model=models/hdfs/1 --data=test.log --labels=labels.csv",
                 [flags, &context] { return RunEvaluate(*flags, context); });
  command->add_option("--model", flags->model, "Artifact: models/<name>/<version>")->required();
  command
      ->add_option("--data", flags->data,
                   "CSV with a label column, FASTA with label=1 in headers, or log lines; gzip too")
      ->required();
  command->add_option("--label-column", flags->label_column, "1 or anomaly marks anomalies")->capture_default_str();
  command->add_option("--labels", flags->labels,
                      "Models of logs: CSV of session key and label (0, 1, normal, anomaly)");
  command->add_option("--culprit-column", flags->culprit_column, "Names the truly faulty features, where it is there")
      ->capture_default_str();
  command->add_option("--epoch", flags->epoch, "Calibration that a server stored (default: the artifact's)");
  command->add_flag("--json", flags->json, "Print JSON");
}

}  // namespace astray
