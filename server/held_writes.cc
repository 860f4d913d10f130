#include "server/held_writes.h"

#include <dlfcn.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

namespace astray {
namespace {

struct Held {
  bool holds = false;
  size_t count = 0;
  std::array<int, HeldWrites::kMostConnections> sockets;

  // Whether the socket is one of those that are let go at the end.
  bool Take(int socket) {
    const auto end = sockets.begin() + count;
    if (std::find(sockets.begin(), end, socket) != end) return true;
    if (count == sockets.size()) return false;
    sockets[count++] = socket;
    return true;
  }
};

thread_local Held held;

}  // namespace

HeldWrites::HeldWrites() { held.holds = true; }

HeldWrites::~HeldWrites() {
  held.holds = false;
  // gRPC sets it for every connection; set again, it lets go what is held. A socket that was closed meanwhile, or that
  // is none of TCP, refuses it, and nothing is held there.
  const int on = 1;
  for (size_t i = 0; i < held.count; ++i) setsockopt(held.sockets[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  held.count = 0;
}

}  // namespace astray

extern "C" ssize_t sendmsg(int socket, const msghdr* message, int flags) {
  static const auto send = reinterpret_cast<decltype(&sendmsg)>(dlsym(RTLD_NEXT, "sendmsg"));
  if (astray::held.holds && astray::held.Take(socket)) flags |= MSG_MORE;
  return send(socket, message, flags);
}
