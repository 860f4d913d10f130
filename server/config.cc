#include "server/config.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>
#include <optional>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"
#include "engine/base/text_proto.h"

namespace astray {
namespace {

constexpr uint64_t kMaxConfigBytes = uint64_t{1} << 20;
constexpr double kMaxSeconds = 86400;

constexpr char kExamples[] = R"(Examples:
  astrayd --model-base-path=models
  astrayd --model-base-path=/var/lib/astray/models --host=0.0.0.0 --port=8001 --http-port=8002
  astrayd --config=server.textproto --log-level=debug
  astrayd --port=0 --http-port=0 --port-file=ports.txt    # free ports, written as "grpc http" once ready

Exit codes: 0 stopped by SIGTERM or SIGINT, 1 failure (such as a port in use), 64 usage, 78 bad configuration.)";

template <typename T>
absl::Status CheckRange(absl::string_view field, T value, T low, T high) {
  if (value >= low && value <= high) return absl::OkStatus();  // false for NaN
  return absl::InvalidArgumentError(absl::StrCat(field, ": expected ", low, " to ", high, ", got ", value));
}

absl::Status CheckHost(const std::string& host) {
  const bool plain = std::all_of(host.begin(), host.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == ':';
  });
  if (!host.empty() && plain) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("host: expected an address or a host name, got '", host, "'"));
}

// Flags as they were given; those that were not leave the file's value.
struct Flags {
  std::string config;
  std::string log_level = "info";
  std::string port_file;
  std::optional<std::string> model_base_path, host;
  std::optional<uint32_t> port, http_port, workers, queue_rows, max_message_bytes, keep_calibrations;
  std::optional<uint64_t> max_calibration_rows;
  std::optional<double> poll_interval, drain_timeout;
};

void AddFlags(CLI::App& app, Flags* flags) {
  app.footer(kExamples);
  app.set_version_flag("--version", "astrayd " ASTRAY_VERSION);
  app.add_option("--model-base-path", flags->model_base_path, "folder of models/<name>/<version>/ [models]");
  app.add_option("--host", flags->host, "address to listen on; 0.0.0.0 for all [127.0.0.1]");
  app.add_option("--port", flags->port, "gRPC port; 0 takes a free one [8001]");
  app.add_option("--http-port", flags->http_port, "port of /metrics, /healthz, /readyz; 0 takes a free one [8002]");
  app.add_option("--config", flags->config, "textproto file (server_config.proto); flags win over it");
  app.add_option("--workers", flags->workers, "scoring threads [one a core]");
  app.add_option("--queue-rows", flags->queue_rows, "rows that may wait before RESOURCE_EXHAUSTED [65536]");
  app.add_option("--max-message-bytes", flags->max_message_bytes, "largest request taken [16777216]");
  app.add_option("--poll-interval", flags->poll_interval,
                 "seconds between looks at the model folder; 0: only LoadModel loads [1]");
  app.add_option("--drain-timeout", flags->drain_timeout, "seconds that calls in flight have to finish at a stop [30]");
  app.add_option("--max-calibration-rows", flags->max_calibration_rows, "rows taken by one Calibrate [100000000]");
  app.add_option("--keep-calibrations", flags->keep_calibrations,
                 "newest calibrations of a version that stay on disk, beside those in use; 0: all [16]");
  app.add_option("--log-level", flags->log_level, "debug, info, warning, error or off")
      ->check(CLI::IsMember({"debug", "info", "warning", "error", "off"}))
      ->capture_default_str();
  app.add_option("--port-file", flags->port_file, "write \"grpc_port http_port\" to this file once ready");
}

void Override(const Flags& flags, v1::ServerConfig* config) {
  if (flags.model_base_path) config->set_model_base_path(*flags.model_base_path);
  if (flags.host) config->set_host(*flags.host);
  if (flags.port) config->set_port(*flags.port);
  if (flags.http_port) config->set_http_port(*flags.http_port);
  if (flags.workers) config->set_workers(*flags.workers);
  if (flags.queue_rows) config->set_queue_rows(*flags.queue_rows);
  if (flags.max_message_bytes) config->set_max_message_bytes(*flags.max_message_bytes);
  if (flags.poll_interval) config->set_poll_interval_seconds(*flags.poll_interval);
  if (flags.drain_timeout) config->set_drain_timeout_seconds(*flags.drain_timeout);
  if (flags.max_calibration_rows) config->set_max_calibration_rows(*flags.max_calibration_rows);
  if (flags.keep_calibrations) config->set_keep_calibrations(*flags.keep_calibrations);
}

absl::StatusOr<ServerConfig> MakeConfig(const Flags& flags) {
  v1::ServerConfig message;
  if (!flags.config.empty()) {
    ASSIGN_OR_RETURN(const std::string text, ReadFile(flags.config, kMaxConfigBytes));
    RETURN_IF_ERROR(ParseTextProto(text, flags.config, &message));
  }
  Override(flags, &message);
  ASSIGN_OR_RETURN(ServerConfig config, CheckConfig(message));
  config.log_level = flags.log_level;
  config.port_file = flags.port_file;
  return config;
}

}  // namespace

absl::StatusOr<ServerConfig> CheckConfig(const v1::ServerConfig& message) {
  ServerConfig config;
  config.workers = std::max(1u, std::thread::hardware_concurrency());
  if (!message.model_base_path().empty()) config.model_base_path = message.model_base_path();
  if (message.has_host()) {
    RETURN_IF_ERROR(CheckHost(message.host()));
    config.host = message.host();
  }
  if (message.has_port()) {
    RETURN_IF_ERROR(CheckRange<uint32_t>("port", message.port(), 0, 65535));
    config.port = static_cast<uint16_t>(message.port());
  }
  if (message.has_http_port()) {
    RETURN_IF_ERROR(CheckRange<uint32_t>("http_port", message.http_port(), 0, 65535));
    config.http_port = static_cast<uint16_t>(message.http_port());
  }
  if (config.port != 0 && config.port == config.http_port) {
    return absl::InvalidArgumentError(absl::StrCat("http_port: expected another port than port, got ", config.port));
  }
  if (message.has_workers()) {
    RETURN_IF_ERROR(CheckRange<uint32_t>("workers", message.workers(), 1, 1024));
    config.workers = message.workers();
  }
  if (message.has_queue_rows()) {
    RETURN_IF_ERROR(CheckRange<uint32_t>("queue_rows", message.queue_rows(), 1, 1u << 28));
    config.queue_rows = message.queue_rows();
  }
  if (message.has_max_message_bytes()) {
    RETURN_IF_ERROR(CheckRange<uint32_t>("max_message_bytes", message.max_message_bytes(), 1024, 1u << 30));
    config.max_message_bytes = message.max_message_bytes();
  }
  if (message.has_poll_interval_seconds()) {
    RETURN_IF_ERROR(CheckRange<double>("poll_interval_seconds", message.poll_interval_seconds(), 0, kMaxSeconds));
    config.poll_interval = absl::Seconds(message.poll_interval_seconds());
  }
  if (message.has_drain_timeout_seconds()) {
    RETURN_IF_ERROR(CheckRange<double>("drain_timeout_seconds", message.drain_timeout_seconds(), 0, kMaxSeconds));
    config.drain_timeout = absl::Seconds(message.drain_timeout_seconds());
  }
  if (message.has_max_calibration_rows()) {
    RETURN_IF_ERROR(CheckRange<uint64_t>("max_calibration_rows", message.max_calibration_rows(), 1, 1'000'000'000));
    config.max_calibration_rows = message.max_calibration_rows();
  }
  if (message.has_keep_calibrations()) {
    RETURN_IF_ERROR(CheckRange<uint32_t>("keep_calibrations", message.keep_calibrations(), 0, 1'000'000));
    config.keep_calibrations = message.keep_calibrations();
  }
  return config;
}

std::variant<ServerConfig, int> ParseCommandLine(int argc, const char* const* argv) {
  CLI::App app("astrayd serves anomaly detectors over gRPC: scores, calibrates, exports metrics.", "astrayd");
  Flags flags;
  AddFlags(app, &flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  absl::StatusOr<ServerConfig> config = MakeConfig(flags);
  if (!config.ok()) {
    std::cerr << "astrayd: " << config.status().message() << '\n';
    return kExitConfig;
  }
  return *std::move(config);
}

}  // namespace astray
