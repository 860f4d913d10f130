#include "tests/testing/mosquitto_broker.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

namespace astray {

MosquittoBroker::MosquittoBroker() : port_(FreePort()) {
  std::ofstream config(folder_.path() / "mosquitto.conf");
  config << "listener " << port_ << " 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location "
         << folder_.path().string() << "/\nmax_queued_messages 0\n";
  if (geteuid() == 0) config << "user root\n";  // else it changes to a user who cannot write here
  config.close();
  Start();
}

void MosquittoBroker::Start() {
  process_ = std::make_unique<ChildProcess>(
      std::vector<std::string>{"mosquitto", "-c", (folder_.path() / "mosquitto.conf").string()},
      (folder_.path() / "log").string());
  EXPECT_TRUE(Eventually([&] { return Listens(port_); }));
}

void MosquittoBroker::Stop() { process_->Stop(SIGTERM); }

}  // namespace astray
