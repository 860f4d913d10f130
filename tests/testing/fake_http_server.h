// An HTTP server on a port of the loopback, a free one by itself, that answers as a test says, one connection after the
// other.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>

namespace astray {

class FakeHttpServer {
 public:
  struct Reply {
    int status = 200;
    std::string body;
    size_t repeated = 1;  // how often the body is sent
  };
  // `answer` is called by the server's thread with the request's path, decoded.
  explicit FakeHttpServer(std::function<Reply(const std::string& path)> answer, uint16_t port = 0);
  ~FakeHttpServer();
  FakeHttpServer(const FakeHttpServer&) = delete;
  FakeHttpServer& operator=(const FakeHttpServer&) = delete;

  uint16_t port() const { return port_; }

 private:
  void Run();
  void Answer(int connection);

  std::function<Reply(const std::string& path)> answer_;
  int listener_ = -1;
  uint16_t port_ = 0;
  std::thread thread_;
};

// The value of a parameter of a path's query; empty where there is none.
std::string PathParameter(const std::string& path, const std::string& name);

}  // namespace astray
