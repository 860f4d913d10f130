#include "client/mqtt_connection.h"

#include <mosquitto.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/shown_text.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

constexpr int kKeepAliveSeconds = 30;
constexpr int kQos = 1;
constexpr int kLoopMs = 200;                                // at most, where nothing wakes it
constexpr absl::Duration kFirstAnswer = absl::Seconds(10);  // of a broker that took the connection

std::string Reason(int result) { return result == MOSQ_ERR_ERRNO ? std::strerror(errno) : mosquitto_strerror(result); }

}  // namespace

struct MqttConnection::Callbacks {
  static void OnConnect(mosquitto* /*client*/, void* self, int result, int flags) {
    auto* connection = static_cast<MqttConnection*>(self);
    if (result == 0) return connection->Accepted((flags & 1) != 0);
    connection->Refused(absl::PermissionDeniedError(absl::StrCat(
        connection->options_.address.place(), ": the broker refused: ", mosquitto_connack_string(result))));
  }
  static void OnSubscribe(mosquitto* /*client*/, void* self, int /*id*/, int count, const int* granted) {
    auto* connection = static_cast<MqttConnection*>(self);
    if (count == 1 && granted[0] <= 2) {
      absl::MutexLock lock(&connection->mutex_);
      connection->ready_ = true;
      return;
    }
    const MqttAddress& address = connection->options_.address;
    connection->Refused(absl::PermissionDeniedError(
        absl::StrCat(address.place(), ": the broker refused the topic ", ShownText(address.topic))));
  }
  static void OnMessage(mosquitto* /*client*/, void* self, const mosquitto_message* message) {
    const absl::string_view payload(static_cast<const char*>(message->payload),
                                    static_cast<size_t>(message->payloadlen));
    static_cast<MqttConnection*>(self)->options_.on_message(message->topic, payload);
  }
  static void OnPublish(mosquitto* /*client*/, void* self, int /*id*/) {
    static_cast<MqttConnection*>(self)->options_.on_acknowledged();
  }
};

absl::Status MqttConnection::Unavailable(absl::string_view why) const {
  return absl::UnavailableError(absl::StrCat("no answer from the broker ", options_.address.place(), ": ", why));
}

absl::StatusOr<std::unique_ptr<MqttConnection>> MqttConnection::Open(Options options) {
  static const int initialised = mosquitto_lib_init();
  if (initialised != MOSQ_ERR_SUCCESS) return absl::InternalError("libmosquitto: cannot start");
  std::unique_ptr<MqttConnection> connection(new MqttConnection(std::move(options)));
  RETURN_IF_ERROR(connection->Start());
  return connection;
}

absl::Status MqttConnection::Start() {
  const MqttAddress& address = options_.address;
  const char* id = address.client_id.empty() ? nullptr : address.client_id.c_str();
  client_ = mosquitto_new(id, !options_.keeps_session, this);
  if (client_ == nullptr) return absl::InternalError(absl::StrCat("libmosquitto: ", std::strerror(errno)));
  mosquitto_threaded_set(client_, true);
  mosquitto_connect_with_flags_callback_set(client_, Callbacks::OnConnect);
  mosquitto_subscribe_callback_set(client_, Callbacks::OnSubscribe);
  if (options_.on_message) mosquitto_message_callback_set(client_, Callbacks::OnMessage);
  if (options_.on_acknowledged) mosquitto_publish_callback_set(client_, Callbacks::OnPublish);
  if (!address.user.empty()) {
    mosquitto_username_pw_set(client_, address.user.c_str(), address.password.c_str());
  }
  const int result = mosquitto_connect(client_, address.host.c_str(), address.port, kKeepAliveSeconds);
  if (result != MOSQ_ERR_SUCCESS) return Unavailable(Reason(result));
  thread_ = std::thread([this] { Run(); });
  absl::MutexLock lock(&mutex_);
  const auto answered = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ready_ || !refusal_.ok(); };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&answered), kFirstAnswer)) {
    return Unavailable("it takes connections and says nothing");
  }
  return refusal_;
}

MqttConnection::~MqttConnection() {
  {
    absl::MutexLock lock(&mutex_);
    closing_ = true;
  }
  if (client_ == nullptr) return;
  mosquitto_disconnect(client_);
  if (thread_.joinable()) thread_.join();
  mosquitto_destroy(client_);
}

void MqttConnection::Accepted(bool session_present) {
  bool ready = false;
  {
    absl::MutexLock lock(&mutex_);
    ready = ready_;
    if (options_.subscription.empty()) ready_ = true;
  }
  backoff_.Reset();
  if (lost_ && options_.notes != nullptr) {
    options_.notes->Say(absl::StrCat("broker ", options_.address.place(), ": connected again"));
  }
  lost_ = false;
  // A session that the broker kept has it already; subscribing again would repeat retained messages.
  if (!options_.subscription.empty() && !(ready && session_present)) {
    mosquitto_subscribe(client_, nullptr, options_.subscription.c_str(), kQos);
  }
}

void MqttConnection::Refused(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  if (!ready_) {
    refusal_ = status;
  } else if (options_.notes != nullptr) {
    options_.notes->Say(status.message());
  }
}

void MqttConnection::Run() {
  const auto closing = [this] {
    absl::MutexLock lock(&mutex_);
    return closing_;
  };
  while (!closing()) {
    const int result = mosquitto_loop(client_, kLoopMs, 1);
    if (result == MOSQ_ERR_SUCCESS || closing()) continue;
    if (!lost_ && options_.notes != nullptr) {
      options_.notes->Say(absl::StrCat("broker ", options_.address.place(), ": lost the connection (", Reason(result),
                                       "), trying again"));
    }
    lost_ = true;
    Reconnect();
  }
  // The good-bye, where there is somebody to hear it.
  mosquitto_loop_write(client_, 1);
}

void MqttConnection::Reconnect() {
  for (;;) {
    {
      absl::MutexLock lock(&mutex_);
      if (mutex_.AwaitWithTimeout(absl::Condition(&closing_), backoff_.Next())) return;
    }
    if (mosquitto_reconnect(client_) == MOSQ_ERR_SUCCESS) return;
  }
}

absl::Status MqttConnection::Publish(const std::string& topic, absl::string_view payload) {
  const int result =
      mosquitto_publish(client_, nullptr, topic.c_str(), static_cast<int>(payload.size()), payload.data(), kQos, false);
  // Without a connection the message is queued all the same.
  if (result == MOSQ_ERR_SUCCESS || result == MOSQ_ERR_NO_CONN || result == MOSQ_ERR_CONN_LOST) {
    return absl::OkStatus();
  }
  return absl::InternalError(absl::StrCat(options_.address.place(), ": cannot publish: ", Reason(result)));
}

}  // namespace astray
