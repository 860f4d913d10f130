// A program that a test starts and, by its process id, ends; and free ports for those that cannot pick one themselves.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace astray {

class ChildProcess {
 public:
  // argv[0] is looked for in PATH and the sbin folders. What it prints is appended to the file `log`.
  ChildProcess(const std::vector<std::string>& argv, const std::string& log);
  ~ChildProcess();  // kills it
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  void Stop(int signal);  // and waits for its end

 private:
  pid_t pid_ = -1;
};

uint16_t FreePort();  // of the loopback, a moment ago
bool Listens(uint16_t port);

// Polls until the condition holds; false after a minute, for a loaded machine: nothing takes that long when it works.
bool Eventually(const std::function<bool()>& condition);

}  // namespace astray
