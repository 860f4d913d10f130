// A real MQTT broker on a free port of the loopback; what it keeps survives a Stop and a Start.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/testing/child_process.h"
#include "tests/testing/temporary_folder.h"

namespace astray {

class MosquittoBroker {
 public:
  MosquittoBroker();

  void Start();  // listens when it returns; the constructor has called it
  void Stop();   // as an operator does, so that it saves what it keeps

  uint16_t port() const { return port_; }
  std::string url(const std::string& topic) const { return absl::StrCat("mqtt://127.0.0.1:", port_, "/", topic); }

 private:
  TemporaryFolder folder_;
  uint16_t port_;
  std::unique_ptr<ChildProcess> process_;
};

}  // namespace astray
