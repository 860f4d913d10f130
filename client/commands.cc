#include "client/commands.h"

#include <CLI/CLI.hpp>
#include <string>

#include "client/command.h"
#include "client/commands/bench.h"
#include "client/commands/calibrate.h"
#include "client/commands/encode.h"
#include "client/commands/evaluate.h"
#include "client/commands/export.h"
#include "client/commands/feedback.h"
#include "client/commands/inspect.h"
#include "client/commands/models.h"
#include "client/commands/score.h"
#include "client/commands/simulate.h"
#include "client/commands/stream.h"
#include "client/commands/templates.h"
#include "client/commands/train.h"
#include "client/commands/tune.h"

namespace astray {
namespace {

constexpr char kFooter[] = R"(Begin with:
  astray simulate --plant=pump --rows=20000 --faults=seal_leak,bearing_wear --out-dir=demo-data
  astray train --data=demo-data/normal.csv --name=pump
  astray evaluate --model=models/pump/1 --data=demo-data/faulty.csv --label-column=label

Exit codes: 0 success, 1 failure, 64 usage, 65 bad data, recipe or artifact, 69 server unavailable.)";

void AddCommands(CLI::App& app, CommandContext& context) {
  AddSimulateCommand(app, context);
  AddTrainCommand(app, context);
  AddTuneCommand(app, context);
  AddEvaluateCommand(app, context);
  AddInspectCommand(app, context);
  AddExportCommand(app, context);
  AddScoreCommand(app, context);
  AddStreamCommand(app, context);
  AddEncodeCommand(app, context);
  AddImputeCommand(app, context);
  AddReconstructCommand(app, context);
  AddTemplatesCommand(app, context);
  AddCalibrateCommand(app, context);
  AddFeedbackCommand(app, context);
  AddModelsCommand(app, context);
  AddBenchCommand(app, context);
}

}  // namespace

int RunAstray(int argc, const char* const* argv, std::ostream& out, std::ostream& err, bool terminal) {
  constexpr int kUsage = 64;
  CommandContext context{.out = out, .err = err, .terminal = terminal};
  CLI::App app("Finds what is not normal in sensor and log streams.", "astray");
  app.footer(kFooter);
  app.set_version_flag("--version", "astray " ASTRAY_VERSION);
  app.require_subcommand(1);
  app.failure_message([](const CLI::App*, const CLI::Error& error) {
    return std::string("astray: ") + error.what() + " (see --help)\n";
  });
  AddCommands(app, context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error, out, err) == 0 ? 0 : kUsage;
  }
  out.flush();
  if (context.status.ok() && !out) context.status = absl::InternalError("standard output: cannot write");
  if (!context.status.ok()) err << "astray: " << context.status.message() << "\n";
  return ExitCode(context.status);
}

}  // namespace astray
