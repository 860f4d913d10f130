#include "client/commands/inspect.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/calibration_text.h"
#include "engine/base/status_macros.h"
#include "engine/detect/artifact.h"
#include "engine/detect/calibration_message.h"
#include "engine/train/recipe.h"

namespace astray {
namespace {

struct Flags {
  std::string path;
  bool json = false;
};

void PrintFeatures(const Detector& detector, std::ostream& out) {
  const Pipeline& pipeline = detector.model().pipeline;
  out << absl::StrFormat("\n%-24s %12s %12s %12s %12s %9s\n", "feature", "min", "mean", "max", "std", "missing");
  for (size_t i = 0; i < pipeline.features(); ++i) {
    const v1::ColumnProfile& p = pipeline.scaler().state().profile(static_cast<int>(i));
    out << absl::StrFormat("%-24s %12.6g %12.6g %12.6g %12.6g %9d%s\n", pipeline.feature_names()[i], p.min(), p.mean(),
                           p.max(), p.standard_deviation(), p.missing(), p.constant() ? "  constant" : "");
  }
}

std::string GroupingText(const v1::LogRecipe& recipe) {
  switch (recipe.grouping_case()) {
    case v1::LogRecipe::kSessionPattern:
      return absl::StrFormat(
          "lines in which '%s' finds the same%s", recipe.session_pattern(),
          recipe.idle_seconds() > 0 ? absl::StrFormat(", complete after %g s without one", recipe.idle_seconds()) : "");
    case v1::LogRecipe::kWindowSeconds:
      return absl::StrFormat("lines of the same %g s", recipe.window_seconds());
    default:
      return absl::StrFormat("%d lines that follow each other", recipe.window_lines());
  }
}

void PrintTemplates(const LogTransform& log, std::ostream& out) {
  out << absl::StrFormat("\n%-24s %12s %12s %s\n", "template", "lines", "sessions", "text");
  for (uint32_t id = 0; id < log.templates(); ++id) {
    const v1::LogTemplate& one = log.state().templates(static_cast<int>(id));
    out << absl::StrFormat("%-24s %12d %12d %s\n", absl::StrCat("t", id), one.lines(), one.sessions(),
                           log.TemplateText(id));
  }
}

// {"grouping":"...","templates":[{"id":0,"lines":7,"sessions":2,"text":"...","example":"..."},...]}
std::string TemplatesJson(const LogTransform& log) {
  std::string json = absl::StrCat("{\"grouping\":", JsonText(GroupingText(log.rules().recipe())), ",\"templates\":[");
  for (uint32_t id = 0; id < log.templates(); ++id) {
    const v1::LogTemplate& one = log.state().templates(static_cast<int>(id));
    absl::StrAppend(&json, id == 0 ? "" : ",", "{\"id\":", id, ",\"lines\":", one.lines(),
                    ",\"sessions\":", one.sessions(), ",\"text\":", JsonText(log.TemplateText(id)),
                    ",\"example\":", JsonText(log.Example(id)), "}");
  }
  return absl::StrCat(json, "]}");
}

// "8 x 8 x 1", or the number of values of a plain vector.
std::string ShapeText(const TensorShape& shape) {
  if (shape.height == 1 && shape.width == 1) return absl::StrCat(shape.channels);
  return absl::StrCat(shape.height, " x ", shape.width, " x ", shape.channels);
}

void PrintLayers(const Network& network, std::ostream& out) {
  out << absl::StrFormat("\n%-24s %-22s %12s %12s %12s %s\n", "layer", "kind", "inputs", "outputs", "parameters",
                         "activation");
  for (size_t i = 0; i < network.layers(); ++i) {
    const v1::Layer& layer = network.spec().layers(static_cast<int>(i));
    const LayerShape& shape = network.shape(i);
    const std::string kind = layer.GetDescriptor()->FindFieldByNumber(layer.kind_case())->name();
    out << absl::StrFormat("%-24s %-22s %12s %12s %12d %s%s\n", layer.name(), kind, ShapeText(shape.input),
                           ShapeText(shape.output), shape.weights + shape.biases, v1::Activation_Name(shape.activation),
                           i == network.spec().code_layer() ? " (the code)" : "");
  }
}

absl::Status RunInspect(const Flags& flags, CommandContext& context) {
  // Reading it checks every size and checksum and replays the golden rows.
  ASSIGN_OR_RETURN(const auto detector, ReadArtifact(flags.path));
  ASSIGN_OR_RETURN(const v1::Manifest manifest, ReadManifest(flags.path));
  ASSIGN_OR_RETURN(const v1::TrainingReport report, ReadReport(flags.path));
  const LogTransform* log = detector->model().pipeline.log();
  if (flags.json) {
    context.out << "{\"manifest\":" << ToJson(manifest) << ",\"recipe\":" << ToJson(detector->model().recipe)
                << ",\"report\":" << ToJson(report)
                << ",\"calibration\":" << ToJson(SummarizeCalibration(detector->calibration()));
    if (log != nullptr) context.out << ",\"log\":" << TemplatesJson(*log);
    context.out << "}\n";
    return absl::OkStatus();
  }
  std::ostream& out = context.out;
  const DetectorModel& model = detector->model();
  const Calibration& calibration = detector->calibration();
  out << absl::StrFormat("%-24s %s version %d, made by astray %s\n", "model", model.name, model.version,
                         manifest.astray_version());
  out << absl::StrFormat("%-24s %s, verified\n", "artifact SHA-256", model.artifact_sha256);
  out << absl::StrFormat("%-24s %.6g at a false-positive rate of %.3g, from %d errors (finest rate %.3g)\n",
                         "threshold", calibration.threshold(), calibration.false_positive_rate(), calibration.samples(),
                         calibration.resolution());
  PrintCalibrationDetails(SummarizeCalibration(calibration), "", out);
  out << absl::StrFormat("%-24s %d rows of %d features\n", "window", detector->window(), detector->features());
  if (log != nullptr) {
    out << absl::StrFormat("%-24s %s; rows are counts of %d templates\n", "sessions",
                           GroupingText(log->rules().recipe()), log->templates());
  }
  const v1::Comparison& c = report.comparison();
  out << absl::StrFormat("%-24s %.4g of %.4g left; PCA (%d components) %.4g; untrained %.4g\n", "denoising error",
                         c.denoising(), c.corruption(), c.pca_components(), c.pca_denoising(), c.untrained_denoising());
  for (const v1::Warning& warning : report.warnings()) out << "warning: " << warning.text() << "\n";
  PrintFeatures(*detector, out);
  if (log != nullptr) PrintTemplates(*log, out);
  PrintLayers(model.executors.network(), out);
  out << absl::StrFormat("\n%-24s %12s %s\n", "file", "bytes", "SHA-256");
  for (const v1::ManifestFile& file : manifest.files()) {
    out << absl::StrFormat("%-24s %12d %s\n", file.path(), file.bytes(), file.sha256());
  }
  out << "\n# recipe\n" << FormatRecipe(model.recipe);
  return absl::OkStatus();
}

}  // namespace

void AddInspectCommand(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      AddCommand(app, context, "inspect", "Show and verify an artifact", "  astray inspect models/pump/1",
                 [flags, &context] { return RunInspect(*flags, context); });
  command->add_option("path", flags->path, "Artifact: models/<name>/<version>")->required();
  command->add_flag("--json", flags->json, "Print JSON");
}

}  // namespace astray
