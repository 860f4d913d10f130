#include "client/commands/tune.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/heat_map.h"
#include "client/log_rows.h"
#include "client/training_flags.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"
#include "engine/train/recipe.h"
#include "engine/train/tuning.h"

namespace astray {
namespace {

struct Flags : TrainingFlags {
  TuningOptions options;
  std::string test, plot, best_recipe;
  bool json = false;
};

// Points are level by level, in each the same widths.
size_t WidthsOf(const v1::TuningReport& report) {
  const auto& points = report.points();
  const auto next = std::ranges::find_if(points, [&](const auto& p) { return p.level() != points.Get(0).level(); });
  return static_cast<size_t>(next - points.begin());
}

HeatMap ToHeatMap(const v1::TuningReport& report) {
  const size_t widths = WidthsOf(report);
  HeatMap map = {.title = report.labelled() ? "AUROC on labelled rows" : "AUROC on injected anomalies",
                 .column_title = "units of the code",
                 .row_title = "corruption level",
                 .marked = report.best()};
  for (size_t i = 0; i < static_cast<size_t>(report.points_size()); ++i) {
    const v1::TuningPoint& point = report.points(static_cast<int>(i));
    if (i < widths) map.columns.push_back(absl::StrCat(point.code_units()));
    if (i % widths == 0) map.rows.push_back(absl::StrFormat("%g", point.level()));
    map.values.push_back(point.auroc());
  }
  return map;
}

void PrintTable(const v1::TuningReport& report, std::ostream& out) {
  const HeatMap map = ToHeatMap(report);
  out << map.title << ", by " << map.row_title << " (down) and " << map.column_title << " (across)\n";
  out << absl::StrFormat("%-10s", "");
  for (const std::string& column : map.columns) out << absl::StrFormat("%9s ", column);
  for (size_t i = 0; i < map.values.size(); ++i) {
    if (i % map.columns.size() == 0) out << absl::StrFormat("\n%-10s", map.rows[i / map.columns.size()]);
    out << absl::StrFormat("%9.4f%s", map.values[i], i == report.best() ? "*" : " ");
  }
  const v1::TuningPoint& best = report.points(static_cast<int>(report.best()));
  out << absl::StrFormat(
      "\n* the sweet spot: level %g, %d units; AUROC %.4f of %d rows; %.1f %% of clean rows' variance "
      "lost\n",
      best.level(), best.code_units(), best.auroc(), report.judged_rows(), 100 * best.clean());
}

// Labelled rows to judge on; of a log, one a session.
absl::StatusOr<Dataset> ReadTest(const Flags& flags, const TrainingData& training, CommandContext& context) {
  if (training.log != nullptr) {
    ASSIGN_OR_RETURN(LabelledLog sessions, ReadLabelledSessions(flags.test, *training.log, flags.labels, context.err));
    return std::move(sessions.rows);
  }
  CsvOptions options = flags.csv;
  options.find_labels = true;
  options.times = CsvOptions::Times::kPresence;
  options.scratch = Scratch(flags.scratch_folder, flags.memory_megabytes << 20);
  ASSIGN_OR_RETURN(Dataset rows, ReadCsv(flags.test, options));
  if (rows.labels.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(flags.test, ": expected a column of labels, got none"));
  }
  if (rows.feature_names != training.rows.feature_names) {
    return absl::InvalidArgumentError(absl::StrCat(flags.test, ": expected the features of ", flags.data));
  }
  return rows;
}

absl::Status RunTune(Flags flags, CommandContext& context) {
  ASSIGN_OR_RETURN(const v1::Recipe recipe, flags.MakeRecipe("tuned"));
  ASSIGN_OR_RETURN(const TrainingData training, flags.ReadData(recipe, context));
  const Dataset& data = training.rows;
  flags.options.log = training.log;
  Dataset labelled;
  if (!flags.test.empty()) {
    ASSIGN_OR_RETURN(labelled, ReadTest(flags, training, context));
    flags.options.labelled = &labelled;
  }
  flags.options.threads = std::max(1u, std::thread::hardware_concurrency());
  const auto progress = [&](size_t done, size_t all) {
    context.err << absl::StrFormat("\r\x1b[Kcandidate %d/%d", done, all) << std::flush;
  };
  const auto report =
      Tune(recipe, data, flags.options, context.terminal ? progress : std::function<void(size_t, size_t)>());
  if (context.terminal) context.err << "\r\x1b[K" << std::flush;
  RETURN_IF_ERROR(report.status());
  if (!flags.plot.empty()) RETURN_IF_ERROR(WriteFileAtomically(flags.plot, ToSvg(ToHeatMap(*report))));
  if (!flags.best_recipe.empty()) {
    const v1::TuningPoint& best = report->points(static_cast<int>(report->best()));
    ASSIGN_OR_RETURN(const v1::Recipe complete, CompleteRecipe(recipe, data));
    ASSIGN_OR_RETURN(const v1::Recipe chosen, WithLevelAndWidth(complete, best.level(), best.code_units()));
    RETURN_IF_ERROR(WriteFileAtomically(flags.best_recipe, FormatRecipe(chosen)));
  }
  if (flags.json) {
    context.out << ToJson(*report) << "\n";
  } else {
    PrintTable(*report, context.out);
  }
  return absl::OkStatus();
}

}  // namespace

void AddTuneCommand(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      AddCommand(app, context, "tune", "Search for the corruption level and code width that tell anomalies best",
                 "  astray tune --data=normal.csv --plot=tune.svg --best-recipe=pump.textproto\n"
                 "  astray tune --data=normal.csv --levels=0.25,0.5,1 --widths=8,32,128 --test=labelled.csv\n"
                 "  astray tune --data=service.log --session-pattern='req-[0-9]+' --test=test.log --labels=labels.csv",
                 [flags, &context] { return RunTune(*flags, context); });
  flags->Add(command);
  flags->AddLog(command);
  command
      ->add_option("--levels", flags->options.levels, "Corruption levels (default: five, by the recipe's corruption)")
      ->delimiter(',');
  command->add_option("--widths", flags->options.widths, "Units of the code (default: four, by the vector's width)")
      ->delimiter(',');
  command->add_option(
      "--test", flags->test,
      "Judge on these labelled rows (default: on a fifth of the data, with anomalies injected); of a log, on its "
      "sessions, by --labels");
  command->add_option("--plot", flags->plot, "Draw the table into this SVG file");
  command->add_option("--best-recipe", flags->best_recipe, "Write the winner's recipe into this file");
  command->add_flag("--json", flags->json, "Print the report as JSON");
}

}  // namespace astray
