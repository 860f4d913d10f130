// A flag that a poll can wait for. Thread-safe.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

namespace astray {

class StopEvent {
 public:
  StopEvent() : fd_(eventfd(0, EFD_CLOEXEC)) {}
  ~StopEvent() { close(fd_); }
  StopEvent(const StopEvent&) = delete;
  StopEvent& operator=(const StopEvent&) = delete;

  void Set() const { static_cast<void>(eventfd_write(fd_, 1)); }
  int fd() const { return fd_; }  // readable once it is set

 private:
  int fd_;
};

}  // namespace astray
