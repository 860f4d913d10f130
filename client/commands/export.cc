#include "client/commands/export.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/onnx_model.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"
#include "engine/detect/artifact.h"

namespace astray {
namespace {

struct Flags {
  std::string model;
  std::string format = "onnx";
  std::string out;
};

void SetMetadata(const Detector& detector, onnx::ModelProto* model) {
  const auto add = [&](const std::string& key, const std::string& value) {
    onnx::StringStringEntryProto& entry = *model->add_metadata_props();
    entry.set_key(key);
    entry.set_value(value);
  };
  add("model", detector.model().name);
  add("version", absl::StrCat(detector.model().version));
  add("artifact_sha256", detector.model().artifact_sha256);
  // JSON: a name may have any letters.
  add("features", absl::StrCat("[",
                               absl::StrJoin(detector.model().pipeline.feature_names(), ",",
                                             [](std::string* text, const auto& name) {
                                               absl::StrAppend(text, JsonText(std::string(name)));
                                             }),
                               "]"));
  add("window", absl::StrCat(detector.window()));
  add("threshold", absl::StrCat(detector.calibration().threshold()));
}

absl::Status RunExport(const Flags& flags, CommandContext& context) {
  ASSIGN_OR_RETURN(const auto detector, ReadArtifact(flags.model));
  onnx::ModelProto model = OnnxModel(detector->model().executors.network());
  model.set_doc_string(
      "The network alone: input and reconstruction are in scaled units, which the artifact's pipeline makes of a row.");
  SetMetadata(*detector, &model);
  std::string bytes;
  if (!model.SerializeToString(&bytes)) return absl::InternalError("onnx: cannot be serialized: more than 2 GiB");
  RETURN_IF_ERROR(WriteFileAtomically(flags.out, bytes));
  context.err << "wrote " << flags.out << ": " << bytes.size() << " bytes, ONNX opset " << kOnnxOpset << "\n";
  return absl::OkStatus();
}

}  // namespace

void AddExportCommand(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = AddCommand(app, context, "export", "Write an artifact's network as ONNX",
                                 "  astray export --model=models/pump/1 --format=onnx --out=pump.onnx",
                                 [flags, &context] { return RunExport(*flags, context); });
  command->add_option("--model", flags->model, "Artifact: models/<name>/<version>")->required();
  command->add_option("--format", flags->format, "onnx")->check(CLI::IsMember({"onnx"}))->capture_default_str();
  command->add_option("--out", flags->out, "File to write; one that is there is replaced")->required();
}

}  // namespace astray
