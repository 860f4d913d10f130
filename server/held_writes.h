// Holds back what gRPC writes to its connections, so that replies that are ready together leave together.
//
// gRPC 1.51 hands every reply to the kernel by itself, and there each goes all the way to its client, which is a sixth
// of what a small call costs. While a HeldWrites lives, what its thread sends stays in the kernel (MSG_MORE, send(2));
// its end lets all of it go, together for each connection. gRPC has no call for this and does not tell which socket a
// call came by, so this program's sendmsg() takes the place of the C library's, for the libraries it is linked with,
// too.
//
//   const HeldWrites held;
//   for (Slot* slot : answered) slot->Finish(..);
#pragma once

#include <cstddef>

namespace astray {

// Of one thread, one at a time.
class HeldWrites {
 public:
  static constexpr size_t kMostConnections = 64;  // others' writes are not held

  HeldWrites();
  HeldWrites(const HeldWrites&) = delete;
  HeldWrites& operator=(const HeldWrites&) = delete;
  ~HeldWrites();
};

}  // namespace astray
