// Publishes each verdict as one JSON object (a line of --format=jsonl, without its newline) on an MQTT topic.
//
// QoS 1: at most kMaxInFlight verdicts are not yet acknowledged by the broker, then Write waits; an outage is waited
// out, and what was not acknowledged is sent again, so a verdict can come twice. Finish waits for the last
// acknowledgement, and gives up where none comes for kPatience. A process that is killed loses what is in flight.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/mqtt_address.h"
#include "client/mqtt_connection.h"
#include "client/notes.h"
#include "client/verdict_sink.h"
#include "client/verdict_writer.h"

namespace astray {

class MqttSink : public VerdictSink {
 public:
  static constexpr size_t kMaxInFlight = 64;
  static constexpr absl::Duration kPatience = absl::Minutes(5);

  // MqttConnection's errors.
  static absl::StatusOr<std::unique_ptr<MqttSink>> Open(const MqttAddress& address, VerdictFilter filter,
                                                        bool show_entities, Notes* notes);

  absl::Status Write(const Row& row, const v1::Verdict& verdict) override;
  absl::Status Finish() override;

 private:
  MqttSink(const MqttAddress& address, VerdictFilter filter, bool show_entities)
      : address_(address), filter_(filter), show_entities_(show_entities) {}

  const MqttAddress address_;
  const VerdictFilter filter_;
  const bool show_entities_;
  absl::Mutex mutex_;
  size_t in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<MqttConnection> connection_;  // its thread counts acknowledgements
};

}  // namespace astray
