#include "tests/testing/fake_http_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace astray {
namespace {

std::string Decoded(const std::string& text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escaped = text[i] == '%' && i + 2 < text.size();
    decoded += escaped ? absl::HexStringToBytes(text.substr(i + 1, 2)) : std::string(1, text[i]);
    if (escaped) i += 2;
  }
  return decoded;
}

}  // namespace

FakeHttpServer::FakeHttpServer(std::function<Reply(const std::string& path)> answer, uint16_t port)
    : answer_(std::move(answer)) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  socklen_t size = sizeof(address);
  EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
  EXPECT_EQ(listen(listener_, 16), 0);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { Run(); });
}

FakeHttpServer::~FakeHttpServer() {
  shutdown(listener_, SHUT_RDWR);
  thread_.join();
  close(listener_);
}

void FakeHttpServer::Run() {
  for (int connection = 0; (connection = accept(listener_, nullptr, nullptr)) >= 0;) {
    Answer(connection);
    close(connection);
  }
}

void FakeHttpServer::Answer(int connection) {
  std::string request;
  char buffer[4096];
  while (request.find("\r\n\r\n") == std::string::npos) {
    const ssize_t got = recv(connection, buffer, sizeof(buffer), 0);
    if (got <= 0) return;
    request.append(buffer, static_cast<size_t>(got));
  }
  const size_t begin = request.find(' ') + 1;
  const Reply reply = answer_(Decoded(request.substr(begin, request.find(' ', begin) - begin)));
  const std::string head =
      absl::StrCat("HTTP/1.1 ", reply.status,
                   " Status\r\nConnection: close\r\nContent-Length: ", reply.body.size() * reply.repeated, "\r\n\r\n");
  bool taken = send(connection, head.data(), head.size(), MSG_NOSIGNAL) >= 0;
  for (size_t i = 0; i < reply.repeated && taken; ++i) {
    for (size_t sent = 0; sent < reply.body.size() && taken;) {
      const ssize_t done = send(connection, reply.body.data() + sent, reply.body.size() - sent, MSG_NOSIGNAL);
      taken = done >= 0;
      sent += taken ? static_cast<size_t>(done) : 0;
    }
  }
}

std::string PathParameter(const std::string& path, const std::string& name) {
  for (const char before : {'?', '&'}) {
    const std::string begin = std::string(1, before) + name + "=";
    const size_t found = path.find(begin);
    if (found == std::string::npos) continue;
    const size_t from = found + begin.size();
    return path.substr(from, path.find('&', from) - from);
  }
  return "";
}

}  // namespace astray
