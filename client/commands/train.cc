#include "client/commands/train.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/status_macros.h"
#include "engine/data/csv_reader.h"
#include "engine/detect/artifact.h"
#include "engine/train/recipe.h"
#include "engine/train/train_job.h"

namespace astray {
namespace {

struct Flags {
  std::string data, name, recipe, checkpoint, model_base_path = "models";
  CsvOptions csv;
  std::optional<double> false_positive_rate;
  std::optional<uint64_t> seed;
  int64_t version = 0;
  bool json = false;
};

absl::StatusOr<Dataset> ReadTrainingData(const Flags& flags, CommandContext& context) {
  CsvOptions options = flags.csv;
  options.find_labels = true;
  ASSIGN_OR_RETURN(Dataset data, ReadCsv(flags.data, options));
  if (!data.labels.empty() && options.label_column.empty()) {
    context.err << "note: column 'label' is taken as labels, not as a feature\n";
  }
  const size_t dropped = data.DropAnomalies();
  if (dropped > 0) context.err << "note: " << dropped << " rows labelled as anomalies are left out\n";
  return data;
}

absl::StatusOr<v1::Recipe> RecipeFromFlags(const Flags& flags) {
  v1::Recipe recipe;
  if (!flags.recipe.empty()) {
    ASSIGN_OR_RETURN(recipe, ReadRecipe(flags.recipe));
  }
  if (!flags.name.empty()) recipe.set_name(flags.name);
  if (recipe.name().empty()) return UsageError("--name: expected a name for the model, got none");
  if (flags.seed) recipe.set_seed(*flags.seed);
  if (flags.false_positive_rate) recipe.mutable_calibration()->set_false_positive_rate(*flags.false_positive_rate);
  return recipe;
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
  context.out << absl::StrFormat("\n%-22s %.6g at a false-positive rate of %.3g\n", "threshold", report.threshold(),
                                 report.false_positive_rate());
  for (const v1::Warning& warning : report.warnings()) context.out << "warning: " << warning.text() << "\n";
}

absl::Status RunTrain(const Flags& flags, CommandContext& context) {
  ASSIGN_OR_RETURN(const v1::Recipe recipe, RecipeFromFlags(flags));
  ASSIGN_OR_RETURN(const Dataset data, ReadTrainingData(flags, context));
  const auto start = std::chrono::steady_clock::now();
  const auto progress = [&](const TrainProgress& p) {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const double left = seconds / static_cast<double>(p.step) * static_cast<double>(p.max_steps - p.step);
    context.err << absl::StrFormat("\r\x1b[Kstep %d/%d  loss %.4g  validation %.4g (best %.4g)  %.0f s left at most",
                                   p.step, p.max_steps, p.training_loss, p.validation_loss, p.best_validation_loss,
                                   left)
                << std::flush;
  };
  auto trained = Train(recipe, data, context.terminal ? progress : ProgressCallback(), flags.checkpoint);
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
  return absl::OkStatus();
}

}  // namespace

void AddTrainCommand(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = AddCommand(app, context, "train", "Learn what is normal from a CSV of normal rows",
                                 "  astray train --data=normal.csv --name=pump\n"
                                 "  astray train --data=normal.csv.gz --recipe=pump.textproto --model-base-path=models",
                                 [flags, &context] { return RunTrain(*flags, context); });
  command->add_option("--data", flags->data, "CSV of normal rows, gzip too; - is standard input")->required();
  command->add_option("--name", flags->name, "Name of the model (default: the recipe's)");
  command->add_option("--recipe", flags->recipe, "Recipe, a textproto; what it leaves out is chosen from the data");
  command->add_option("--model-base-path", flags->model_base_path, "Folder of models")->capture_default_str();
  command->add_option("--timestamp-column", flags->csv.timestamp_column, "Default: timestamp, time, date, ...");
  command->add_option("--label-column", flags->csv.label_column, "Rows labelled 1 are left out (default: label)");
  command->add_option("--ignore-columns", flags->csv.ignore_columns, "Columns that are no features")->delimiter(',');
  command->add_option("--false-positive-rate", flags->false_positive_rate, "Share of normal rows that may be flagged");
  command->add_option("--seed", flags->seed, "The same seed, data and recipe give the same artifact");
  command->add_option("--checkpoint", flags->checkpoint,
                      "Keep the training's state in this file, go on from it where it is there; removed at the end");
  command->add_option("--model-version", flags->version, "Version to write (default: the next)");
  command->add_flag("--json", flags->json, "Print the training report as JSON");
}

}  // namespace astray
