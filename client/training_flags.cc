#include "client/training_flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/fasta_rows.h"
#include "client/log_rows.h"
#include "engine/base/status_macros.h"
#include "engine/train/recipe.h"

namespace astray {
namespace {

constexpr uint32_t kDefaultKmerLetters = 4;
constexpr int kMaxThreads = 256;

}  // namespace

void TrainingFlags::Add(CLI::App* command) {
  command
      ->add_option("--data", data,
                   "CSV of normal rows, FASTA (.fasta, .fa, .fna) or log lines (.log), gzip too; - is standard "
                   "input, CSV; or prometheus:http://host:9090 with --query and --range")
      ->required();
  command->add_option("--name", name, "Name of the model (default: the recipe's)");
  command->add_option("--recipe", recipe, "Recipe, a textproto; what it leaves out is chosen from the data");
  command->add_option("--timestamp-column", csv.timestamp_column, "Default: timestamp, time, date, ...");
  command->add_option("--label-column", csv.label_column, "Rows labelled 1 are left out (default: label)");
  command->add_option("--entity-column", csv.entity_column, "Column that says whose row it is: no window spans two");
  command->add_option("--ignore-columns", csv.ignore_columns, "Columns that are no features")->delimiter(',');
  prometheus.Add(command);
  range.Add(command);
  command->add_option("--seed", seed, "The same seed, data and recipe give the same artifact");
}

void TrainingFlags::AddScratch(CLI::App* command) {
  command->add_option("--scratch-dir", scratch_folder,
                      "Folder on a disk for the rows of a CSV that do not fit into --data-memory (default: $TMPDIR, or "
                      "/var/tmp); takes 8 to 16 bytes a value, given back at the end, and leaves 1 GiB free");
  command->add_option("--data-memory", memory_megabytes, "MiB of memory for the rows of a CSV")
      ->check(CLI::Range(uint64_t{0}, uint64_t{1} << 24))
      ->capture_default_str();
}

void TrainingFlags::AddLog(CLI::App* command) {
  command->add_option("--input-format", input_format, "auto (by the file's name), csv, fasta or log")
      ->check(CLI::IsMember({"auto", "csv", "fasta", "log"}))
      ->capture_default_str();
  command->add_option("--labels", labels, "Logs: CSV of session key and label; sessions labelled 1 are left out");
  auto* pattern = command->add_option("--session-pattern", session_pattern,
                                      "Logs: lines in which it finds the same are a session (features.log)");
  command->add_option("--window-seconds", window_seconds, "Logs: lines of so many seconds are a session (features.log)")
      ->excludes(pattern);
}

void TrainingFlags::AddThreads(CLI::App* command) {
  command
      ->add_option(
          "--threads", threads,
          "Threads to train with, at most one a core pays (default: all cores); any number gives the same artifact")
      ->check(CLI::Range(1, kMaxThreads));
}

void TrainingFlags::AddSegments(CLI::App* command) {
  command->add_option(
      "--segment-column", csv.segment_column,
      "Column of which each value gets a threshold of its own: a machine, a tenant, a mode; no feature");
}

size_t TrainingFlags::ThreadsToUse() const {
  return threads > 0 ? threads : std::max<size_t>(1, std::thread::hardware_concurrency());
}

bool TrainingFlags::IsLog() const { return input_format == "log" || (input_format == "auto" && IsNamedLog(data)); }

bool TrainingFlags::IsFasta() const {
  return input_format == "fasta" || (input_format == "auto" && IsNamedFasta(data));
}

absl::StatusOr<TrainingData> TrainingFlags::ReadLogData(const v1::Recipe& made, CommandContext& context) const {
  SessionLabels known;
  if (!labels.empty()) {
    ASSIGN_OR_RETURN(known, ReadSessionLabels(labels));
  }
  ASSIGN_OR_RETURN(LogTrainingData log, ReadTrainingLog(data, made.features().log(), known));
  context.err << "note: " << log.rows.rows() << " sessions of " << log.lines << " lines, " << log.log->templates()
              << " templates\n";
  if (log.lines_without_session > 0) {
    context.err << "note: " << log.lines_without_session << " lines belong to no session\n";
  }
  if (log.sessions_left_out > 0) {
    context.err << "note: " << log.sessions_left_out << " sessions labelled as anomalies are left out\n";
  }
  return TrainingData{.rows = std::move(log.rows), .log = std::move(log.log)};
}

absl::StatusOr<TrainingData> TrainingFlags::ReadData(const v1::Recipe& made, CommandContext& context) const {
  if (!csv.segment_column.empty() && (IsLog() || IsFasta() || IsPrometheusSource(data))) {
    return UsageError(absl::StrCat("--segment-column: expected a CSV, got ", data));
  }
  if (IsLog()) return ReadLogData(made, context);
  if (!labels.empty() || !session_pattern.empty() || window_seconds) {
    return UsageError(
        absl::StrCat("--labels, --session-pattern, --window-seconds: expected a log (.log, or "
                     "--input-format=log), got ",
                     data));
  }
  Dataset dataset;
  if (IsFasta()) {
    ASSIGN_OR_RETURN(dataset, ReadFasta(data, made.features().sequence()));
    const size_t dropped = dataset.DropAnomalies();
    if (dropped > 0) context.err << "note: " << dropped << " sequences with label=1 are left out\n";
    return TrainingData{.rows = std::move(dataset)};
  }
  if (IsPrometheusSource(data)) {
    ASSIGN_OR_RETURN(dataset, ReadPrometheusRange(data, prometheus, range));
    return TrainingData{.rows = std::move(dataset)};
  }
  CsvOptions options = csv;
  options.find_labels = true;
  options.normal_only = true;
  options.times = made.stream().max_gap_seconds() > 0 ? CsvOptions::Times::kSeconds : CsvOptions::Times::kPresence;
  options.scratch = Scratch(scratch_folder, memory_megabytes << 20);
  ASSIGN_OR_RETURN(dataset, ReadCsv(data, options));
  if (dataset.left_out && options.label_column.empty()) {
    context.err << "note: column 'label' is taken as labels, not as a feature\n";
  }
  if (dataset.left_out.value_or(0) > 0) {
    context.err << "note: " << *dataset.left_out << " rows labelled as anomalies are left out\n";
  }
  RETURN_IF_ERROR(dataset.GroupByEntity());
  return TrainingData{.rows = std::move(dataset)};
}

absl::StatusOr<v1::Recipe> TrainingFlags::MakeRecipe(const std::string& default_name) const {
  v1::Recipe made;
  if (!recipe.empty()) {
    ASSIGN_OR_RETURN(made, ReadRecipe(recipe));
  }
  if (!name.empty()) made.set_name(name);
  if (made.name().empty()) made.set_name(default_name);
  if (made.name().empty()) return UsageError("--name: expected a name for the model, got none");
  if (seed) made.set_seed(*seed);
  if (IsFasta() && !made.features().has_sequence()) {
    made.mutable_features()->mutable_sequence()->set_kmer_letters(kDefaultKmerLetters);
  }
  if (IsLog()) {
    v1::LogRecipe* log = made.mutable_features()->mutable_log();
    if (!session_pattern.empty()) log->set_session_pattern(session_pattern);
    if (window_seconds) log->set_window_seconds(*window_seconds);
  }
  return made;
}

}  // namespace astray
