#include "client/commands/evaluate.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <span>
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
#include "engine/train/time_order.h"

namespace astray {
namespace {

struct Flags {
  std::string model, data, labels, entity_column, label_column = "label", culprit_column = "culprits";
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
  options.entity_column = flags.entity_column;
  options.feature_names = detector.model().pipeline.feature_names();
  ASSIGN_OR_RETURN(Dataset data, ReadCsv(flags.data, options));
  data.GroupByEntity();
  return data;
}

// The first two are beside each other: a scored row's score and label.
struct Scores {
  std::vector<float> scores;
  std::vector<uint8_t> labels;
  // Of flagged anomalous rows with culprits: how many there are, and of how many a true culprit is the first
  // contributor, or among the first three.
  std::vector<size_t> blamed;  // those rows, of the data
  uint64_t top1 = 0, top3 = 0;
  uint64_t repaired_top1 = 0;  // where features are named by repair
};

bool NamesACulprit(const Dataset& data, size_t row, std::span<const Contribution> contributions) {
  const std::vector<std::string> culprits = absl::StrSplit(data.culprits[row], ';');
  return std::ranges::any_of(contributions, [&](const Contribution& contribution) {
    return std::ranges::find(culprits, data.feature_names[contribution.feature]) != culprits.end();
  });
}

void Count(const Dataset& data, size_t row, const ScoreResult& result, size_t i, Scores* scores) {
  const Verdict& verdict = result.verdicts[i];
  if (verdict.state != Verdict::State::kScored) return;
  scores->scores.push_back(verdict.score);
  scores->labels.push_back(data.labels[row]);
  if (data.culprits.empty() || !verdict.anomalous || data.labels[row] == 0 || data.culprits[row].empty()) return;
  const std::span<const Contribution> named(result.contributions.data() + i * result.contributions_stride,
                                            verdict.contributions);
  scores->blamed.push_back(row);
  scores->top1 += NamesACulprit(data, row, named.first(std::min<size_t>(1, named.size()))) ? 1 : 0;
  scores->top3 += NamesACulprit(data, row, named.first(std::min<size_t>(3, named.size()))) ? 1 : 0;
}

// Each entity's rows by themselves.
absl::StatusOr<Scores> ScoreAll(const Detector& detector, const Dataset& data) {
  Scores scores;
  ScoreResult result;
  std::vector<uint32_t> ends = RunBegins(data, /*max_gap_seconds=*/0);
  ends.push_back(static_cast<uint32_t>(data.rows()));
  size_t begin = 0;
  for (const uint32_t end : ends) {
    const auto rows = std::span(data.values).subspan(begin * data.features(), (end - begin) * data.features());
    RETURN_IF_ERROR(detector.Score(rows, {}, &result));
    for (size_t i = 0; i < result.verdicts.size(); ++i) {
      Count(data, begin + i + detector.window() - 1, result, i, &scores);
    }
    begin = end;
  }
  return scores;
}

// Names the blamed rows' features once more, by repair.
absl::Status RepairBlamed(const Detector& detector, const Dataset& data, Scores* scores) {
  constexpr size_t kWindows = 256;
  const size_t size = detector.window() * data.features();
  ScoreResult result;
  std::vector<float> windows;
  for (size_t first = 0; first < scores->blamed.size(); first += kWindows) {
    const auto rows = std::span(scores->blamed).subspan(first, std::min(kWindows, scores->blamed.size() - first));
    windows.clear();
    for (const size_t row : rows) {
      const auto window = std::span(data.values).subspan((row + 1) * data.features() - size, size);
      windows.insert(windows.end(), window.begin(), window.end());
    }
    RETURN_IF_ERROR(detector.ScoreWindows(windows, {.top_contributors = 1, .counterfactual = 1}, &result));
    for (size_t i = 0; i < rows.size(); ++i) {
      const std::span<const Contribution> named(result.contributions.data() + i * result.contributions_stride,
                                                result.verdicts[i].contributions);
      scores->repaired_top1 += NamesACulprit(data, rows[i], named) ? 1 : 0;
    }
  }
  return absl::OkStatus();
}

v1::Evaluation Evaluate(const Detector& detector, const Dataset& data, const Scores& all, double seconds) {
  const std::vector<float>& scores = all.scores;
  const std::vector<uint8_t>& labels = all.labels;
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
    const double blamed = std::max<double>(1, static_cast<double>(all.blamed.size()));
    evaluation.set_culprit_top1_rate(static_cast<double>(all.top1) / blamed);
    evaluation.set_culprit_top3_rate(static_cast<double>(all.top3) / blamed);
    evaluation.set_counterfactual_top1_rate(static_cast<double>(all.repaired_top1) / blamed);
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
    out << absl::StrFormat("%-24s %.1f %% first\n", "... by repair", 100 * e.counterfactual_top1_rate());
  }
  out << absl::StrFormat("%-24s %.0f rows/s\n", "scoring", e.rows_per_second());
}

absl::Status RunEvaluate(const Flags& flags, CommandContext& context) {
  ASSIGN_OR_RETURN(const auto detector, OpenDetector(flags.model, flags.epoch));
  ASSIGN_OR_RETURN(const Dataset data, ReadLabelled(flags, *detector, context));
  const auto start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(Scores scores, ScoreAll(*detector, data));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  RETURN_IF_ERROR(RepairBlamed(*detector, data, &scores));
  const v1::Evaluation evaluation = Evaluate(*detector, data, scores, seconds.count());
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
  command->add_option("--entity-column", flags->entity_column, "Column that says whose row it is: no window spans two");
  command->add_option("--labels", flags->labels,
                      "Models of logs: CSV of session key and label (0, 1, normal, anomaly)");
  command->add_option("--culprit-column", flags->culprit_column, "Names the truly faulty features, where it is there")
      ->capture_default_str();
  command->add_option("--epoch", flags->epoch, "Calibration that a server stored (default: the artifact's)");
  command->add_flag("--json", flags->json, "Print JSON");
}

}  // namespace astray
