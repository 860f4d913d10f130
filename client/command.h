// What every command of `astray` shares: where it reads and writes, what it returns, how it is found.
#pragma once

#include <google/protobuf/message.h>

#include <functional>
#include <istream>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "astray/v1/service.pb.h"

namespace CLI {
class App;  // <CLI/CLI.hpp> takes seconds: only what adds options includes it
}

namespace astray {

struct CommandContext {
  std::ostream& out;      // results only, so that it can be piped
  std::ostream& err;      // progress and notes
  bool terminal = false;  // whether err is one: progress is shown there only
  absl::Status status;    // what the command returned
};

// 0 success, 1 failure, 64 usage, 65 bad data, recipe or artifact, 69 server unavailable.
int ExitCode(const absl::Status& status);

// InvalidArgument that is the command line's fault: exit code 64.
absl::Status UsageError(absl::string_view text);

// Adds a subcommand whose `run` is called when the command line names it.
CLI::App* AddCommand(CLI::App& app, CommandContext& context, const std::string& name, const std::string& description,
                     const std::string& examples, std::function<absl::Status()> run);

// --server, and --model with --model-version or --label.
struct ServerFlags {
  std::string server = "localhost:8001";
  std::string model;
  int64_t version = 0;
  std::string label;

  void AddServer(CLI::App* command);
  void AddModel(CLI::App* command);
  v1::ModelRef ref() const;
};

// The very version described, so that a command that runs long does not change models on its way.
v1::ModelRef PinnedModel(const v1::ModelDescription& model);

// Proto3 JSON with the fields' own names and every field present; a NaN is "NaN". No newline at its end.
std::string ToJson(const google::protobuf::Message& message);

// A JSON string literal; bytes that are no UTF-8 are escaped as C does it.
std::string JsonText(const std::string& text);

}  // namespace astray
