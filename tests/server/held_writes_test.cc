#include "server/held_writes.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

namespace astray {
namespace {

// Two ends of a connection on loopback; the sender never waits to fill its segments, like gRPC's.
class Connection {
 public:
  Connection() {
    const int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    sockaddr_in address = {.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    sender_ = socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_EQ(bind(listener, any, size), 0);
    EXPECT_EQ(listen(listener, 1), 0);
    EXPECT_EQ(getsockname(listener, any, &size), 0);
    EXPECT_EQ(connect(sender_, any, size), 0);
    EXPECT_EQ(setsockopt(sender_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    receiver_ = accept(listener, nullptr, nullptr);
    EXPECT_GE(receiver_, 0);
    close(listener);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    CloseSender();
    close(receiver_);
  }

  void CloseSender() {
    if (sender_ >= 0) close(sender_);
    sender_ = -1;
  }
  void Send(std::string text) const {
    iovec part = {.iov_base = text.data(), .iov_len = text.size()};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    EXPECT_EQ(sendmsg(sender_, &message, 0), static_cast<ssize_t>(text.size()));
  }
  // Bytes that the sender's kernel has and has not sent.
  int Waiting() const {
    int bytes = -1;
    EXPECT_EQ(ioctl(sender_, SIOCOUTQNSD, &bytes), 0);
    return bytes;
  }
  // What has come, of at least one byte.
  std::string Receive() const {
    pollfd readable = {.fd = receiver_, .events = POLLIN, .revents = 0};
    EXPECT_EQ(poll(&readable, 1, /*timeout=*/10000), 1);
    char buffer[64];
    const ssize_t received = recv(receiver_, buffer, sizeof buffer, MSG_DONTWAIT);
    return received > 0 ? std::string(buffer, static_cast<size_t>(received)) : "";
  }

 private:
  int sender_ = -1, receiver_ = -1;
};

TEST(HeldWrites, LetsAllGoTogetherAtTheEnd) {
  const Connection connection;
  {
    const HeldWrites held;
    connection.Send("ab");
    connection.Send("cd");
    EXPECT_EQ(connection.Waiting(), 4);
  }
  EXPECT_EQ(connection.Waiting(), 0);
  EXPECT_EQ(connection.Receive(), "abcd");
}

TEST(HeldWrites, HoldsOfEachConnectionItsOwn) {
  const Connection a, b;
  {
    const HeldWrites held;
    a.Send("to a");
    b.Send("to b");
    EXPECT_EQ(a.Waiting(), 4);
    EXPECT_EQ(b.Waiting(), 4);
  }
  EXPECT_EQ(a.Receive(), "to a");
  EXPECT_EQ(b.Receive(), "to b");
}

TEST(HeldWrites, HoldsNothingAfterItsEnd) {
  const Connection connection;
  { const HeldWrites held; }
  connection.Send("now");
  EXPECT_EQ(connection.Waiting(), 0);
  EXPECT_EQ(connection.Receive(), "now");
}

TEST(HeldWrites, HoldsNothingOfOtherThreads) {
  const Connection connection;
  const HeldWrites held;
  std::thread([&connection] { connection.Send("now"); }).join();
  EXPECT_EQ(connection.Waiting(), 0);
  EXPECT_EQ(connection.Receive(), "now");
}

TEST(HeldWrites, ConnectionsBeyondTheMostAreNotHeld) {
  const Connection held_ones[HeldWrites::kMostConnections], other;
  const HeldWrites held;
  for (const Connection& connection : held_ones) connection.Send("later");
  other.Send("now");
  EXPECT_EQ(held_ones[HeldWrites::kMostConnections - 1].Waiting(), 5);
  EXPECT_EQ(other.Waiting(), 0);
}

TEST(HeldWrites, ASocketThatWasClosedMeanwhileDoesNoHarm) {
  Connection closed;
  const Connection open;
  {
    const HeldWrites held;
    closed.Send("last");
    open.Send("on");
    closed.CloseSender();
  }
  EXPECT_EQ(closed.Receive(), "last");
  EXPECT_EQ(open.Receive(), "on");
}

// What gRPC's library calls is found in this program, not in the C library.
TEST(HeldWrites, SendmsgIsThisPrograms) {
  static const int of_this_program = 0;
  Dl_info found, own;
  ASSERT_NE(dladdr(dlsym(RTLD_DEFAULT, "sendmsg"), &found), 0);
  ASSERT_NE(dladdr(&of_this_program, &own), 0);
  EXPECT_STREQ(found.dli_fname, own.dli_fname);
}

}  // namespace
}  // namespace astray
