#include "server/http_server.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "civetweb.h"
#include "server/host_port.h"
#include "spdlog/spdlog.h"

namespace astray {
namespace {

struct Reply {
  int status = 200;
  const char* reason = "OK";
  const char* content_type = "text/plain; charset=utf-8";
  std::string body;
};

Reply MakeReply(absl::string_view path, const HttpServer::Content& content) {
  if (path == "/metrics")
    return {.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = content.metrics()};
  if (path == "/healthz") return {.body = "ok\n"};
  if (path == "/readyz") {
    if (content.ready()) return {.body = "ready\n"};
    return {.status = 503, .reason = "Service Unavailable", .body = "not ready\n"};
  }
  if (path == "/") return {.content_type = "text/html; charset=utf-8", .body = content.index()};
  return {.status = 404, .reason = "Not Found", .body = "not found; there is /, /metrics, /healthz, /readyz\n"};
}

// Connects and hangs up.
void Visit(const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* address = nullptr;
  if (getaddrinfo(host.c_str(), absl::StrCat(port).c_str(), &hints, &address) != 0) return;
  const int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0) {
    // Whether it succeeds does not matter.
    static_cast<void>(connect(fd, address->ai_addr, address->ai_addrlen));
    close(fd);
  }
  freeaddrinfo(address);
}

}  // namespace

int HttpServer::Handle(mg_connection* connection, void* server) {
  const mg_request_info* request = mg_get_request_info(connection);
  const absl::string_view method = request->request_method;
  Reply reply;
  if (method == "GET" || method == "HEAD") {
    reply = MakeReply(request->local_uri, static_cast<const HttpServer*>(server)->content_);
  } else {
    reply = {.status = 405, .reason = "Method Not Allowed", .body = "expected GET or HEAD\n"};
  }
  const std::string head = absl::StrCat(
      "HTTP/1.1 ", reply.status, " ", reply.reason, "\r\nContent-Type: ", reply.content_type,
      "\r\nContent-Length: ", reply.body.size(), "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
      reply.status == 405 ? "Allow: GET, HEAD\r\n" : "", "Connection: close\r\n\r\n");
  mg_write(connection, head.data(), head.size());
  if (method != "HEAD") mg_write(connection, reply.body.data(), reply.body.size());
  return reply.status;
}

int HttpServer::Log(const mg_connection* /*connection*/, const char* message) {
  spdlog::debug("http: {}", message);
  return 1;
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& host, uint16_t port, Content content) {
  static std::once_flag library;
  std::call_once(library, [] { mg_init_library(0); });

  std::unique_ptr<HttpServer> server(new HttpServer(host, std::move(content)));
  const std::string address = HostPort(host, port);
  const std::array<const char*, 13> options = {"listening_ports",
                                               address.c_str(),
                                               "num_threads",
                                               "4",
                                               "request_timeout_ms",
                                               "10000",
                                               "max_request_size",
                                               "16384",
                                               "enable_keep_alive",
                                               "no",
                                               "enable_directory_listing",
                                               "no",
                                               nullptr};
  mg_callbacks callbacks{};
  callbacks.log_message = &HttpServer::Log;
  server->context_ = mg_start(&callbacks, server.get(), const_cast<const char**>(options.data()));
  if (server->context_ == nullptr) {
    return absl::AlreadyExistsError(
        absl::StrCat("http: cannot listen on ", address, ": the port is in use or the address is not of this machine"));
  }
  mg_set_request_handler(server->context_, "**", &HttpServer::Handle, server.get());
  mg_server_port ports{};
  if (mg_get_server_ports(server->context_, 1, &ports) == 1) server->port_ = static_cast<uint16_t>(ports.port);
  return server;
}

HttpServer::~HttpServer() {
  if (context_ == nullptr) return;
  // civetweb looks only every two seconds whether it should stop, or when somebody connects.
  absl::Notification stopped;
  std::thread visitor([&] {
    while (!stopped.WaitForNotificationWithTimeout(absl::Milliseconds(10))) Visit(host_, port_);
  });
  mg_stop(context_);
  stopped.Notify();
  visitor.join();
}

}  // namespace astray
