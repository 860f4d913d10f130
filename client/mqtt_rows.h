// The messages of an MQTT topic as rows: each payload is one JSON object, as a line of JSON lines.
//
// Delivery: QoS 1. With a client-id the broker keeps what comes while the worker is away (within the broker's own
// limits); without one, what comes while it is away is lost. A message is acknowledged once it waits in the queue here,
// before it is scored: of a worker that is killed, at most kMaxWaiting messages and the one at hand have no verdict. A
// message can come twice. When the queue is full nothing more is read, and the broker waits.
//
// A payload that is no such object is passed over, with a note for the first ten and then every thousandth.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "client/mqtt_address.h"
#include "client/mqtt_connection.h"
#include "client/notes.h"
#include "client/row_source.h"
#include "engine/data/json_object_parser.h"

namespace astray {

class MqttRows : public RowSource {
 public:
  static constexpr size_t kMaxWaiting = 64;
  static constexpr size_t kMaxPayloadBytes = 1 << 20;

  // MqttConnection's errors. `entity_member` as JsonObjectParser's, empty where the topic is the entity; notes may be
  // null, and outlive the source.
  static absl::StatusOr<std::unique_ptr<MqttRows>> Open(const MqttAddress& address,
                                                        const std::vector<std::string>& feature_names,
                                                        const std::string& entity_member, int stop_fd, Notes* notes,
                                                        const std::string& segment_member = "");
  ~MqttRows() override;

  absl::StatusOr<bool> Next(Row* row) override;

  uint64_t passed_over() const { return passed_over_; }

 private:
  struct Message {
    std::string topic, payload;
    size_t size = 0;  // of the payload, also where it was too large to keep
  };
  MqttRows(const MqttAddress& address, JsonObjectParser parser, int stop_fd, Notes* notes);
  void Push(const std::string& topic, absl::string_view payload);  // waits while the queue is full
  Message Pop();
  void PassOver(const Message& message, absl::string_view why);

  const MqttAddress address_;
  const JsonObjectParser parser_;
  const int stop_fd_;
  const int waiting_fd_;  // counts what waits, for poll
  Notes* const notes_;
  uint64_t row_ = 0, passed_over_ = 0;

  absl::Mutex mutex_;
  std::deque<Message> waiting_ ABSL_GUARDED_BY(mutex_);
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<MqttConnection> connection_;  // its thread pushes
};

}  // namespace astray
