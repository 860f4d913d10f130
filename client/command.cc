#include "client/command.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <CLI/CLI.hpp>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/escaping.h"
#include "client/client.h"

namespace astray {

namespace {

constexpr char kUsagePayload[] = "astray.v1/usage";

}  // namespace

absl::Status UsageError(absl::string_view text) {
  absl::Status status = absl::InvalidArgumentError(text);
  status.SetPayload(kUsagePayload, absl::Cord());
  return status;
}

int ExitCode(const absl::Status& status) {
  constexpr int kFailure = 1, kUsage = 64, kBadData = 65, kUnavailable = 69;
  if (status.GetPayload(kUsagePayload).has_value()) return kUsage;
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kUnavailable:
      return kUnavailable;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kDataLoss:
      return kBadData;
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kFailedPrecondition:
      // Of a file here it is bad input; of a server it is how things stand there.
      return status.GetPayload(kRpcPayload).has_value() ? kFailure : kBadData;
    default:
      return kFailure;
  }
}

CLI::App* AddCommand(CLI::App& app, CommandContext& context, const std::string& name, const std::string& description,
                     const std::string& examples, std::function<absl::Status()> run) {
  CLI::App* command = app.add_subcommand(name, description);
  command->footer("Examples:\n" + examples);
  command->callback([&context, run = std::move(run)] { context.status = run(); });
  return command;
}

void ServerFlags::AddServer(CLI::App* command) {
  command->add_option("--server", server, "host:port of astrayd's gRPC")->capture_default_str();
}

void ServerFlags::AddModel(CLI::App* command) {
  command->add_option("--model", model, "Name of a served model")->required();
  auto* by_version = command->add_option("--model-version", version, "Version (default: the latest)");
  command->add_option("--label", label, "Label of a version, such as stable")->excludes(by_version);
}

v1::ModelRef ServerFlags::ref() const {
  v1::ModelRef ref;
  ref.set_name(model);
  if (version != 0) ref.set_version(version);
  if (!label.empty()) ref.set_label(label);
  return ref;
}

v1::ModelRef PinnedModel(const v1::ModelDescription& model) {
  v1::ModelRef ref;
  ref.set_name(model.name());
  ref.set_version(model.version().version());
  return ref;
}

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string json;
  static_cast<void>(google::protobuf::util::MessageToJsonString(message, &json, options));
  return json;
}

std::string JsonText(const std::string& text) {
  google::protobuf::Value value;
  value.set_string_value(text);
  std::string json;
  static_cast<void>(google::protobuf::util::MessageToJsonString(value, &json));
  // What is no UTF-8 comes out empty.
  return json.size() > 2 || text.empty() ? json : JsonText(absl::CHexEscape(text));
}

}  // namespace astray
