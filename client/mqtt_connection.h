// A connection to an MQTT broker that comes back by itself, on libmosquitto. One thread of its own does all that the
// network needs, and calls the handlers. Thread-safe.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/backoff.h"
#include "client/mqtt_address.h"
#include "client/notes.h"

struct mosquitto;
struct mosquitto_message;

namespace astray {

class MqttConnection {
 public:
  struct Options {
    MqttAddress address;
    std::string subscription;    // QoS 1; empty: none
    bool keeps_session = false;  // the broker keeps what comes for the client id while nobody is connected
    Notes* notes = nullptr;      // hears of outages; outlives the connection
    // Called by the connection's thread. While on_message runs nothing is received: the broker waits.
    std::function<void(const std::string& topic, absl::string_view payload)> on_message;
    std::function<void()> on_acknowledged;  // one published message has come to the broker
  };

  // Returns once the broker has accepted client and subscription. Unavailable where it is not there,
  // PermissionDenied where it refuses; both name "host:port". What happens later is waited out.
  static absl::StatusOr<std::unique_ptr<MqttConnection>> Open(Options options);

  // Says good-bye; what was published and not acknowledged is dropped.
  ~MqttConnection();
  MqttConnection(const MqttConnection&) = delete;
  MqttConnection& operator=(const MqttConnection&) = delete;

  // QoS 1. Queues the message: it is sent when there is a connection, and again until it is acknowledged.
  absl::Status Publish(const std::string& topic, absl::string_view payload);

 private:
  struct Callbacks;  // libmosquitto's
  explicit MqttConnection(Options options) : options_(std::move(options)) {}
  absl::Status Start();
  void Run();
  void Reconnect();
  void Accepted(bool session_present);
  void Refused(const absl::Status& status);
  absl::Status Unavailable(absl::string_view why) const;

  Options options_;
  mosquitto* client_ = nullptr;
  std::thread thread_;

  absl::Mutex mutex_;
  bool ready_ ABSL_GUARDED_BY(mutex_) = false;  // accepted and subscribed for the first time
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status refusal_ ABSL_GUARDED_BY(mutex_);  // of the first time
  // The thread's own:
  Backoff backoff_{absl::Seconds(5)};
  bool lost_ = false;
};

}  // namespace astray
