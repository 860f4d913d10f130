#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/file.h"
#include "engine/base/sha256.h"
#include "engine/base/status_macros.h"
#include "engine/detect/artifact.h"
#include "engine/detect/artifact_format.h"
#include "engine/detect/deviation_rules.h"
#include "engine/detect/golden.h"
#include "engine/detect/hindsight.h"
#include "engine/detect/score_kind.h"
#include "engine/detect/stream_policy.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/text_format.h"
#include "google/protobuf/util/json_util.h"

namespace astray {
namespace {

// Messages are not nested deeper than this in any of our text files.
constexpr int kMaxTextDepth = 16;

absl::Status At(absl::StatusCode code, const std::filesystem::path& path, absl::string_view message) {
  return absl::Status(code, absl::StrCat(path.string(), ": ", message));
}

absl::Status DataLossAt(const std::filesystem::path& path, absl::string_view message) {
  return At(absl::StatusCode::kDataLoss, path, message);
}

// Keeps the first error and the first warning, with their place.
class FirstComplaint : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override { Keep(line, column, message, &error_); }
  void AddWarning(int line, int column, const std::string& message) override { Keep(line, column, message, &warning_); }
  const std::string& error() const { return error_; }
  const std::string& warning() const { return warning_; }

 private:
  static void Keep(int line, int column, const std::string& message, std::string* text) {
    if (text->empty()) *text = absl::StrCat("line ", line + 1, " column ", column + 1, ": ", message);
  }
  std::string error_;
  std::string warning_;
};

// An unknown field is a warning, so that the caller can look at the format version first.
bool ParseText(const std::string& text, google::protobuf::Message* message, FirstComplaint* complaint) {
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(complaint);
  parser.AllowUnknownField(true);
  parser.SetRecursionLimit(kMaxTextDepth);
  return parser.ParseFromString(text, message);
}

absl::Status ParseBytes(const std::filesystem::path& path, const std::string& bytes,
                        google::protobuf::Message* message) {
  if (message->ParseFromString(bytes)) return absl::OkStatus();
  return DataLossAt(path, absl::StrCat("expected a ", message->GetTypeName(), " message"));
}

struct ReadManifestResult {
  v1::Manifest manifest;
  std::string sha256;
};

absl::Status CheckFiles(const std::filesystem::path& path, const v1::Manifest& manifest) {
  for (const ArtifactFile& known : kListedFiles) {
    const auto entries = std::count_if(manifest.files().begin(), manifest.files().end(),
                                       [&](const v1::ManifestFile& file) { return file.path() == known.name; });
    if (entries != 1) {
      return DataLossAt(path, absl::StrCat("files: expected '", known.name, "' once, got it ", entries, " times"));
    }
  }
  if (static_cast<size_t>(manifest.files_size()) != kListedFiles.size()) {
    return DataLossAt(path, absl::StrCat("files: expected ", kListedFiles.size(), ", got ", manifest.files_size()));
  }
  return absl::OkStatus();
}

absl::Status CheckChecksumLine(const std::filesystem::path& path, absl::string_view text) {
  const size_t line_bytes = ManifestChecksumLine("").size();
  const absl::string_view above = text.substr(0, text.size() - std::min(text.size(), line_bytes));
  const std::string expected = ManifestChecksumLine(above);
  if (text.substr(above.size()) == expected) return absl::OkStatus();
  return DataLossAt(path, absl::StrCat("expected the last line '", expected.substr(0, expected.size() - 1),
                                       "': the file was changed after it was written"));
}

absl::StatusOr<ReadManifestResult> ReadManifestAndSha256(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kManifestFile.name;
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kManifestFile.max_bytes));
  ReadManifestResult result;
  FirstComplaint complaint;
  const bool parsed = ParseText(text, &result.manifest, &complaint);
  if (parsed && result.manifest.format_version() != kArtifactFormatVersion) {
    return At(absl::StatusCode::kFailedPrecondition, path,
              absl::StrCat("format version ", result.manifest.format_version(), ": this astray reads version ",
                           kArtifactFormatVersion));
  }
  if (!parsed) return DataLossAt(path, complaint.error());
  RETURN_IF_ERROR(CheckChecksumLine(path, text));
  if (!complaint.warning().empty()) return DataLossAt(path, complaint.warning());
  RETURN_IF_ERROR(CheckFiles(path, result.manifest));
  if (const absl::Status status = CheckModelName(result.manifest.name()); !status.ok()) {
    return DataLossAt(path, absl::StrCat("name: ", status.message()));
  }
  result.sha256 = Sha256Hex(text);
  return result;
}

// The content of `file` once its size and checksum are what the manifest says.
absl::StatusOr<std::string> ReadChecked(const std::filesystem::path& folder, const v1::Manifest& manifest,
                                        const ArtifactFile& file) {
  const std::filesystem::path path = folder / file.name;
  const auto entry = std::find_if(manifest.files().begin(), manifest.files().end(),
                                  [&](const v1::ManifestFile& listed) { return listed.path() == file.name; });
  if (entry->bytes() > file.max_bytes) {
    return DataLossAt(path,
                      absl::StrCat("expected at most ", file.max_bytes, " bytes, the manifest says ", entry->bytes()));
  }
  std::error_code error;
  const uint64_t size = std::filesystem::file_size(path, error);
  if (error == std::errc::no_such_file_or_directory) {
    return DataLossAt(path, "missing, though the manifest lists it");
  }
  if (!error && size != entry->bytes()) {
    return DataLossAt(path, absl::StrCat("expected ", entry->bytes(), " bytes (manifest), got ", size));
  }
  ASSIGN_OR_RETURN(std::string content, ReadFile(path, entry->bytes()));
  if (const std::string sha256 = Sha256Hex(content); sha256 != entry->sha256()) {
    return DataLossAt(path, absl::StrCat("expected SHA-256 ", entry->sha256(), " (manifest), got ", sha256));
  }
  return content;
}

// Before Network::Create allocates what a small network.pb merely claims.
absl::Status CheckClaimedSize(v1::NetworkSpec spec, uint64_t weights_bytes) {
  ASSIGN_OR_RETURN(const std::vector<LayerShape> shapes, ResolveShapes(std::nullopt, &spec));
  uint64_t parameters = 0;
  for (size_t i = 0; i < shapes.size(); ++i) {
    parameters += shapes[i].weights + shapes[i].biases;
    if (parameters * sizeof(float) > weights_bytes) {
      return absl::DataLossError(absl::StrCat("layer '", spec.layers(static_cast<int>(i)).name(),
                                              "': expected at most as many parameters as ", kWeightsFile.name,
                                              " holds (", weights_bytes / sizeof(float), "), got ", parameters));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Network> ReadNetwork(const std::filesystem::path& folder, const v1::Manifest& manifest) {
  ASSIGN_OR_RETURN(const std::string spec_bytes, ReadChecked(folder, manifest, kNetworkFile));
  ASSIGN_OR_RETURN(std::string weights_bytes, ReadChecked(folder, manifest, kWeightsFile));
  v1::NetworkSpec spec;
  RETURN_IF_ERROR(ParseBytes(folder / kNetworkFile.name, spec_bytes, &spec));
  if (const absl::Status status = CheckClaimedSize(spec, weights_bytes.size()); !status.ok()) {
    return DataLossAt(folder / kNetworkFile.name, status.message());
  }
  absl::StatusOr<Network> network = Network::Create(std::move(spec));
  if (!network.ok()) return DataLossAt(folder / kNetworkFile.name, network.status().message());
  if (network->parameters().size_bytes() != weights_bytes.size()) {
    return DataLossAt(folder / kWeightsFile.name, absl::StrCat("expected ", network->parameters().size_bytes(),
                                                               " bytes for these layers, got ", weights_bytes.size()));
  }
  std::vector<float> weights(weights_bytes.size() / sizeof(float));
  std::memcpy(weights.data(), weights_bytes.data(), weights_bytes.size());
  if (const absl::Status status = network->SetParameters(weights); !status.ok()) {
    return DataLossAt(folder / kWeightsFile.name, status.message());
  }
  return network;
}

absl::StatusOr<v1::Recipe> ReadRecipeFile(const std::filesystem::path& folder, const v1::Manifest& manifest) {
  ASSIGN_OR_RETURN(const std::string text, ReadChecked(folder, manifest, kRecipeFile));
  v1::Recipe recipe;
  FirstComplaint complaint;
  if (!ParseText(text, &recipe, &complaint)) return DataLossAt(folder / kRecipeFile.name, complaint.error());
  if (!complaint.warning().empty()) return DataLossAt(folder / kRecipeFile.name, complaint.warning());
  if (const absl::Status status = StreamPolicy::FromRecipe(recipe).status(); !status.ok()) {
    return DataLossAt(folder / kRecipeFile.name, status.message());
  }
  return recipe;
}

absl::StatusOr<Pipeline> ReadPipeline(const std::filesystem::path& folder, const v1::Manifest& manifest) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadChecked(folder, manifest, kPipelineFile));
  v1::PipelineState state;
  RETURN_IF_ERROR(ParseBytes(folder / kPipelineFile.name, bytes, &state));
  absl::StatusOr<Pipeline> pipeline = Pipeline::FromState(state);
  if (!pipeline.ok()) return DataLossAt(folder / kPipelineFile.name, pipeline.status().message());
  return pipeline;
}

struct ReadCalibrationResult {
  Calibration calibration;
  std::optional<HindsightModel> hindsight;
};

absl::StatusOr<ReadCalibrationResult> ReadCalibration(const std::filesystem::path& folder,
                                                      const v1::Manifest& manifest) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadChecked(folder, manifest, kCalibrationFile));
  v1::CalibrationState state;
  RETURN_IF_ERROR(ParseBytes(folder / kCalibrationFile.name, bytes, &state));
  absl::StatusOr<Calibration> calibration = Calibration::FromState(state);
  if (!calibration.ok()) return DataLossAt(folder / kCalibrationFile.name, calibration.status().message());
  if (calibration->epoch() != 1) {
    return DataLossAt(folder / kCalibrationFile.name, absl::StrCat("epoch: expected 1, got ", calibration->epoch()));
  }
  ReadCalibrationResult result{*std::move(calibration), std::nullopt};
  if (!state.has_hindsight()) return result;
  absl::StatusOr<Calibration> hindsight = Calibration::FromState(state.hindsight().calibration());
  if (!hindsight.ok()) {
    return DataLossAt(folder / kCalibrationFile.name, absl::StrCat("hindsight: ", hindsight.status().message()));
  }
  result.hindsight = HindsightModel{state.hindsight().scale(), *std::move(hindsight)};
  return result;
}

absl::Status CheckTogether(const std::filesystem::path& folder, const DetectorModel& model) {
  const size_t width = model.pipeline.width();
  const Network& network = model.executors.network();
  if (network.input_size() != width || network.reconstruction_size() != width) {
    return DataLossAt(folder / kNetworkFile.name,
                      absl::StrCat("expected inputs and outputs of ", width, " (", kPipelineFile.name, "'s), got ",
                                   network.input_size(), " and ", network.reconstruction_size()));
  }
  if (const absl::Status status = CheckScoreScale(model.score_scale, model.pipeline.features(), width); !status.ok()) {
    return DataLossAt(folder / kManifestFile.name, status.message());
  }
  if (model.hindsight) {
    const absl::Status status = CheckHindsightScale(model.hindsight->scale, model.score_scale,
                                                    model.pipeline.features(), model.pipeline.window());
    if (!status.ok()) return DataLossAt(folder / kCalibrationFile.name, status.message());
  }
  if (const absl::Status status = CheckDeviationRules(model.recipe.rule(), model.pipeline.feature_names(),
                                                      model.score_scale.kind(), model.score_scale.loss());
      !status.ok()) {
    return DataLossAt(folder / kRecipeFile.name, status.message());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::Manifest> ReadManifest(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(ReadManifestResult result, ReadManifestAndSha256(path));
  return std::move(result.manifest);
}

absl::StatusOr<v1::TrainingReport> ReadReport(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const v1::Manifest manifest, ReadManifest(path));
  ASSIGN_OR_RETURN(const std::string json, ReadChecked(path, manifest, kReportFile));
  v1::TrainingReport report;
  const auto status = google::protobuf::util::JsonStringToMessage(json, &report);
  if (!status.ok()) return DataLossAt(path / kReportFile.name, std::string(status.message()));
  return report;
}

absl::StatusOr<std::shared_ptr<const Detector>> ReadArtifact(const std::filesystem::path& path) {
  std::filesystem::path folder = std::filesystem::absolute(path).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();
  ASSIGN_OR_RETURN(ReadManifestResult read, ReadManifestAndSha256(path));
  const v1::Manifest& manifest = read.manifest;
  ASSIGN_OR_RETURN(v1::Recipe recipe, ReadRecipeFile(path, manifest));
  ASSIGN_OR_RETURN(Pipeline pipeline, ReadPipeline(path, manifest));
  ASSIGN_OR_RETURN(ReadCalibrationResult calibrated, ReadCalibration(path, manifest));
  ASSIGN_OR_RETURN(const std::string golden_bytes, ReadChecked(path, manifest, kGoldenFile));
  v1::Golden golden;
  RETURN_IF_ERROR(ParseBytes(path / kGoldenFile.name, golden_bytes, &golden));
  RETURN_IF_ERROR(ReadChecked(path, manifest, kReportFile).status());
  ASSIGN_OR_RETURN(Network network, ReadNetwork(path, manifest));

  const int64_t version = ParseVersion(folder.filename().string());
  std::shared_ptr<DetectorModel> model(new DetectorModel{
      .name = version > 0 ? folder.parent_path().filename().string() : manifest.name(),
      .version = version,
      .artifact_sha256 = std::move(read.sha256),
      .recipe = std::move(recipe),
      .pipeline = std::move(pipeline),
      .score_scale = manifest.score(),
      .executors = ExecutorPool(std::move(network)),
      .hindsight = std::move(calibrated.hindsight),
  });
  RETURN_IF_ERROR(CheckTogether(path, *model));
  model->rules = DeviationRules::Compile(model->recipe.rule(), model->pipeline);
  auto detector = std::make_shared<const Detector>(
      std::move(model), std::make_shared<const Calibration>(std::move(calibrated.calibration)));
  if (const absl::Status status = ReplayGolden(*detector, golden); !status.ok()) {
    const auto code = absl::IsFailedPrecondition(status) ? status.code() : absl::StatusCode::kDataLoss;
    return At(code, path / kGoldenFile.name, status.message());
  }
  return detector;
}

}  // namespace astray
