#include "client/training_flags.h"

#include "client/fasta_rows.h"
#include "engine/base/status_macros.h"
#include "engine/train/recipe.h"

namespace astray {
namespace {

constexpr uint32_t kDefaultKmerLetters = 4;

}  // namespace

void TrainingFlags::Add(CLI::App* command) {
  command
      ->add_option("--data", data,
                   "CSV of normal rows, or FASTA (.fasta, .fa, .fna); gzip too; - is standard input, CSV; or "
                   "prometheus:http://host:9090 with --query and --range")
      ->required();
  command->add_option("--name", name, "Name of the model (default: the recipe's)");
  command->add_option("--recipe", recipe, "Recipe, a textproto; what it leaves out is chosen from the data");
  command->add_option("--timestamp-column", csv.timestamp_column, "Default: timestamp, time, date, ...");
  command->add_option("--label-column", csv.label_column, "Rows labelled 1 are left out (default: label)");
  command->add_option("--ignore-columns", csv.ignore_columns, "Columns that are no features")->delimiter(',');
  prometheus.Add(command);
  range.Add(command);
  command->add_option("--seed", seed, "The same seed, data and recipe give the same artifact");
}

absl::StatusOr<Dataset> TrainingFlags::ReadData(const v1::Recipe& made, CommandContext& context) const {
  Dataset dataset;
  if (IsNamedFasta(data)) {
    ASSIGN_OR_RETURN(dataset, ReadFasta(data, made.features().sequence()));
    const size_t dropped = dataset.DropAnomalies();
    if (dropped > 0) context.err << "note: " << dropped << " sequences with label=1 are left out\n";
    return dataset;
  }
  if (IsPrometheusSource(data)) return ReadPrometheusRange(data, prometheus, range);
  CsvOptions options = csv;
  options.find_labels = true;
  ASSIGN_OR_RETURN(dataset, ReadCsv(data, options));
  if (!dataset.labels.empty() && options.label_column.empty()) {
    context.err << "note: column 'label' is taken as labels, not as a feature\n";
  }
  const size_t dropped = dataset.DropAnomalies();
  if (dropped > 0) context.err << "note: " << dropped << " rows labelled as anomalies are left out\n";
  return dataset;
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
  if (IsNamedFasta(data) && !made.features().has_sequence()) {
    made.mutable_features()->mutable_sequence()->set_kmer_letters(kDefaultKmerLetters);
  }
  return made;
}

}  // namespace astray
