#include "client/commands/train.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/training_flags.h"
#include "engine/base/status_macros.h"
#include "engine/detect/artifact.h"
#include "engine/train/recipe.h"
#include "engine/train/train_job.h"

namespace astray {
namespace {

struct Flags : TrainingFlags {
  std::string checkpoint, model_base_path = "models";
  std::optional<double> false_positive_rate;
  int64_t version = 0;
  bool json = false;
};

std::string ScoreName(v1::ScoreKind kind, uint32_t recent_rows) {
  return absl::StrCat(v1::ScoreKind_Name(kind), recent_rows > 1 ? absl::StrCat(" of ", recent_rows, " rows") : "");
}

// Which way to score was taken, and what the others did on injected anomalies.
void PrintScore(const v1::TrainingReport& report, const v1::ScoreRecipe& score, CommandContext& context) {
  if (report.scores().empty()) return;
  std::string chosen, others;
  for (const v1::ScoreCandidate& candidate : report.scores()) {
    const std::string text =
        absl::StrFormat("%s %.3f", ScoreName(candidate.kind(), candidate.recent_rows()), candidate.log_score());
    const bool taken = candidate.kind() == score.kind() && candidate.recent_rows() == score.recent_rows();
    absl::StrAppend(taken ? &chosen : &others, taken || others.empty() ? "" : ", ", text);
  }
  context.out << absl::StrFormat("%-22s %s; others: %s (log score on injected anomalies)\n", "score", chosen, others);
}

void PrintSummary(const v1::TrainingReport& report, const v1::Recipe& recipe, CommandContext& context) {
  const v1::Comparison& c = report.comparison();
  context.out << "# the recipe, with every default filled in\n" << FormatRecipe(recipe) << "\n";
  context.out << absl::StrFormat("%-22s %d rows: %d vectors to train, %d to validate, %d to calibrate\n", "data",
                                 report.rows(), report.training_vectors(), report.validation_vectors(),
                                 report.calibration_vectors());
  context.out << absl::StrFormat("%-22s %d parameters, %d steps%s, best at step %d\n", "network", report.parameters(),
                                 report.steps(), report.stopped_early() ? " (stopped early)" : "", report.best_step());
  for (int i = 0; i < report.pretraining_losses_size(); ++i) {
    context.out << absl::StrFormat("%-22s validation loss %.4g\n", absl::StrCat("layer ", i + 1, " alone"),
                                   report.pretraining_losses(i));
  }
  if (!report.losses().empty()) {
    const auto& first = report.losses(0);
    const auto best = std::min_element(report.losses().begin(), report.losses().end(),
                                       [](const auto& a, const auto& b) { return a.validation() < b.validation(); });
    context.out << absl::StrFormat("%-22s %.4g at step %d, best %.4g\n", "validation loss", first.validation(),
                                   first.step(), best->validation());
  }
  context.out << absl::StrFormat("%-22s %.4g of a corruption of %.4g left; untrained %.4g", "denoising error",
                                 c.denoising(), c.corruption(), c.untrained_denoising());
  if (c.pca_components() > 0) {
    context.out << absl::StrFormat("; PCA (%d components) %.4g", c.pca_components(), c.pca_denoising());
  }
  context.out << "\n";
  PrintScore(report, recipe.score(), context);
  context.out << absl::StrFormat("%-22s %.6g at a false-positive rate of %.3g\n", "threshold", report.threshold(),
                                 report.false_positive_rate());
  if (report.segments() > 0) {
    context.out << absl::StrFormat("%-22s %d of %d have a threshold of their own%s\n", "segments",
                                   report.own_thresholds(), report.segments(),
                                   report.own_thresholds() < report.segments()
                                       ? "; held-out rows of the others are too few, that of all rows counts"
                                       : "");
  }
  for (const v1::Warning& warning : report.warnings()) context.out << "warning: " << warning.text() << "\n";
}

absl::Status RunTrain(const Flags& flags, CommandContext& context) {
  ASSIGN_OR_RETURN(v1::Recipe recipe, flags.MakeRecipe(""));
  if (flags.false_positive_rate) recipe.mutable_calibration()->set_false_positive_rate(*flags.false_positive_rate);
  ASSIGN_OR_RETURN(const TrainingData data, flags.ReadData(recipe, context));
  const auto start = std::chrono::steady_clock::now();
  const auto progress = [&](const TrainProgress& p) {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const double left = seconds / static_cast<double>(p.step) * static_cast<double>(p.max_steps - p.step);
    context.err << absl::StrFormat("\r\x1b[Kstep %d/%d  loss %.4g  validation %.4g (best %.4g)  %.0f s left at most",
                                   p.step, p.max_steps, p.training_loss, p.validation_loss, p.best_validation_loss,
                                   left)
                << std::flush;
  };
  auto trained = Train(recipe, data.rows, context.terminal ? progress : ProgressCallback(), flags.checkpoint, data.log,
                       flags.ThreadsToUse());
  if (context.terminal) context.err << "\r\x1b[K" << std::flush;
  RETURN_IF_ERROR(trained.status());
  ASSIGN_OR_RETURN(const auto path, WriteArtifact(flags.model_base_path, *trained->detector, trained->golden_rows,
                                                  trained->report, flags.version));
  if (!flags.checkpoint.empty()) {
    std::error_code error;
    std::filesystem::remove(flags.checkpoint, error);  // what is left would only be read again
  }
  if (flags.json) {
    context.out << ToJson(trained->report) << "\n";
  } else {
    PrintSummary(trained->report, trained->detector->model().recipe, context);
    context.out << absl::StrFormat("%-22s %s\n", "artifact", path.string());
  }
  if (IsPrometheusSource(flags.data)) {
    context.err << "note: astray stream --model=" << recipe.name() << " "
                << PrometheusStreamArguments(flags.data, flags.prometheus) << " scores the same series live\n";
  }
  return absl::OkStatus();
}

}  // namespace

void AddTrainCommand(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      AddCommand(app, context, "train", "Learn what is normal from a CSV of normal rows, FASTA, a log or a Prometheus",
                 "  astray train --data=normal.csv --name=pump\n"
                 "  astray train --data=normal.csv.gz --recipe=pump.textproto --model-base-path=models\n"
                 "  astray train --data=fleet.csv --name=pump --entity-column=machine --segment-column=machine\n"
                 "  astray train --data=service.log --name=service --session-pattern='req-[0-9a-f]+'\n"
                 "  astray train --data=prometheus:http://localhost:9090 --range=2h --name=nodes \\\n"
                 "    --query='rate(node_cpu_seconds_total[1m])'",
                 [flags, &context] { return RunTrain(*flags, context); });
  flags->Add(command);
  flags->AddLog(command);
  flags->AddScratch(command);
  flags->AddThreads(command);
  flags->AddSegments(command);
  command->add_option("--model-base-path", flags->model_base_path, "Folder of models")->capture_default_str();
  command->add_option("--false-positive-rate", flags->false_positive_rate, "Share of normal rows that may be flagged");
  command->add_option("--checkpoint", flags->checkpoint,
                      "Keep the training's state in this file, go on from it where it is there; removed at the end");
  command->add_option("--model-version", flags->version, "Version to write (default: the next)");
  command->add_flag("--json", flags->json, "Print the training report as JSON");
}

}  // namespace astray
