#include "client/mqtt_sink.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/verdict_json.h"
#include "engine/base/status_macros.h"

namespace astray {

absl::StatusOr<std::unique_ptr<MqttSink>> MqttSink::Open(const MqttAddress& address, VerdictFilter filter,
                                                         bool show_entities, Notes* notes) {
  std::unique_ptr<MqttSink> sink(new MqttSink(address, filter, show_entities));
  MqttConnection::Options options;
  options.address = address;
  options.notes = notes;
  options.on_acknowledged = [made = sink.get()] {
    absl::MutexLock lock(&made->mutex_);
    --made->in_flight_;
  };
  ASSIGN_OR_RETURN(sink->connection_, MqttConnection::Open(std::move(options)));
  return sink;
}

absl::Status MqttSink::Write(const Row& row, const v1::Verdict& verdict) {
  if (!Passes(filter_, verdict)) return absl::OkStatus();
  const std::string payload = VerdictJson(row, verdict, show_entities_);
  {
    absl::MutexLock lock(&mutex_);
    const auto has_room = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return in_flight_ < kMaxInFlight; };
    mutex_.Await(absl::Condition(&has_room));
    ++in_flight_;
  }
  absl::Status status = connection_->Publish(address_.topic, payload);
  if (!status.ok()) {
    absl::MutexLock lock(&mutex_);
    --in_flight_;
  }
  return status;
}

absl::Status MqttSink::Finish() {
  absl::MutexLock lock(&mutex_);
  while (in_flight_ > 0) {
    const size_t before = in_flight_;
    const auto fewer = [this, before]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return in_flight_ < before; };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&fewer), kPatience)) {
      return absl::UnavailableError(absl::StrCat("no answer from the broker ", address_.place(), ": ", in_flight_,
                                                 " verdicts are not acknowledged"));
    }
  }
  return absl::OkStatus();
}

}  // namespace astray
