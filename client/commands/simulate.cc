#include "client/commands/simulate.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"
#include "engine/data/csv_writer.h"
#include "engine/data/plant_simulator.h"

namespace astray {
namespace {

struct Flags {
  PlantSimulator::Options run;
  std::string out_dir;
  bool list = false;
};

absl::Status List(CommandContext& context) {
  for (const std::string& plant : PlantSimulator::Plants()) {
    ASSIGN_OR_RETURN(const std::vector<std::string> faults, PlantSimulator::Faults(plant));
    context.out << plant << ": " << absl::StrJoin(faults, ", ") << "\n";
  }
  return absl::OkStatus();
}

absl::Status Write(const std::string& folder, const std::string& name, const Dataset& run, const std::string& what,
                   CommandContext& context) {
  RETURN_IF_ERROR(CreateFolders(folder));
  const std::string path = absl::StrCat(folder, "/", name);
  RETURN_IF_ERROR(WriteCsv(path, run));
  context.out << path << ": " << run.rows() << " rows, " << run.features() << " sensors, " << what << "\n";
  return absl::OkStatus();
}

absl::StatusOr<Dataset> Run(const PlantSimulator::Options& options) {
  absl::StatusOr<Dataset> run = PlantSimulator::Run(options);
  if (!run.ok()) return UsageError(run.status().message());
  return run;
}

absl::Status Simulate(const Flags& flags, CommandContext& context) {
  if (flags.list) return List(context);
  if (flags.out_dir.empty()) return UsageError("--out-dir: expected a folder, got none");
  // Both runs are made before either is written: a wrong flag writes nothing.
  PlantSimulator::Options options = flags.run;
  options.faults.clear();
  ASSIGN_OR_RETURN(Dataset normal, Run(options));
  normal.labels.clear();
  normal.culprits.clear();
  if (flags.run.faults.empty()) return Write(flags.out_dir, "normal.csv", normal, "normal", context);
  options.faults = flags.run.faults;
  ++options.seed;  // a model must not be tested on the very noise it was trained on
  ASSIGN_OR_RETURN(const Dataset faulty, Run(options));
  RETURN_IF_ERROR(Write(flags.out_dir, "normal.csv", normal, "normal", context));
  return Write(flags.out_dir, "faulty.csv", faulty, absl::StrJoin(flags.run.faults, ", "), context);
}

}  // namespace

void AddSimulateCommand(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = AddCommand(app, context, "simulate", "Write sensor runs of a simulated plant, normal and faulty",
                                 "  astray simulate --plant=pump --rows=20000 --faults=seal_leak,bearing_wear "
                                 "--out-dir=demo-data\n  astray simulate --list",
                                 [flags, &context] { return Simulate(*flags, context); });
  command->add_option("--plant", flags->run.plant, "Plant to simulate")->capture_default_str();
  command->add_option("--rows", flags->run.rows, "Rows of each run, one a second")->capture_default_str();
  command->add_option("--faults", flags->run.faults, "Faults of the faulty run, in turn")->delimiter(',');
  command->add_option("--seed", flags->run.seed, "Seed; the faulty run takes the next one")->capture_default_str();
  command->add_option("--missing-ratio", flags->run.missing_ratio, "Share of readings that drop out")
      ->capture_default_str();
  command->add_option("--out-dir", flags->out_dir, "Folder for normal.csv and faulty.csv");
  command->add_flag("--list", flags->list, "List plants and their faults");
}

}  // namespace astray
