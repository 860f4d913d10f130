// What astrayd was told: flags, and a textproto file that flags of the same name override (server_config.proto).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "astray/v1/server_config.pb.h"

namespace astray {

inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 64;
inline constexpr int kExitConfig = 78;

// Checked: every value is in range.
struct ServerConfig {
  std::filesystem::path model_base_path = "models";
  std::string host = "127.0.0.1";
  uint16_t port = 8001;       // 0 takes a free one
  uint16_t http_port = 8002;  // 0 takes a free one
  size_t workers = 1;
  size_t queue_rows = 65536;
  size_t max_message_bytes = size_t{16} << 20;
  absl::Duration poll_interval = absl::Seconds(1);  // 0: only by RPC
  absl::Duration drain_timeout = absl::Seconds(30);
  uint64_t max_calibration_rows = 100'000'000;
  size_t keep_calibrations = 16;  // of a version; 0: all
  std::string log_level = "info";
  std::filesystem::path port_file;  // empty: none
};

// Fills in defaults and checks. InvalidArgument names the field: "port: expected 0 to 65535, got 70000".
absl::StatusOr<ServerConfig> CheckConfig(const v1::ServerConfig& config);

// Either what to run with, or the exit code: what there is to say (help, version, an error) has been printed.
std::variant<ServerConfig, int> ParseCommandLine(int argc, const char* const* argv);

}  // namespace astray
