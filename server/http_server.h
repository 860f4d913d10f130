// The HTTP port: /metrics for Prometheus, /healthz (the process answers), /readyz (it takes requests), and / with links
// and models for people. Plain text but for /; GET and HEAD only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

struct mg_context;
struct mg_connection;

namespace astray {

class HttpServer {
 public:
  // What the pages say; called on the HTTP server's threads.
  struct Content {
    std::function<std::string()> metrics;  // text exposition format
    std::function<bool()> ready;
    std::function<std::string()> index;  // HTML
  };

  // Listens at once; port 0 takes a free one. AlreadyExists: the port is in use.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const std::string& host, uint16_t port, Content content);
  ~HttpServer();

  uint16_t port() const { return port_; }

 private:
  HttpServer(std::string host, Content content) : host_(std::move(host)), content_(std::move(content)) {}
  static int Handle(mg_connection* connection, void* server);
  static int Log(const mg_connection* connection, const char* message);

  std::string host_;
  Content content_;
  mg_context* context_ = nullptr;
  uint16_t port_ = 0;
};

}  // namespace astray
