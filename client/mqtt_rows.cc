#include "client/mqtt_rows.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/shown_text.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

constexpr uint64_t kNotesAtFirst = 10, kNoteEvery = 1000;

}  // namespace

MqttRows::MqttRows(const MqttAddress& address, JsonObjectParser parser, int stop_fd, Notes* notes)
    : address_(address),
      parser_(std::move(parser)),
      stop_fd_(stop_fd),
      waiting_fd_(eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE)),
      notes_(notes) {}

absl::StatusOr<std::unique_ptr<MqttRows>> MqttRows::Open(const MqttAddress& address,
                                                         const std::vector<std::string>& feature_names,
                                                         const std::string& entity_member, int stop_fd, Notes* notes,
                                                         const std::string& segment_member) {
  std::unique_ptr<MqttRows> rows(
      new MqttRows(address, JsonObjectParser(feature_names, entity_member, segment_member), stop_fd, notes));
  MqttConnection::Options options;
  options.address = address;
  options.subscription = address.subscription();
  options.keeps_session = !address.client_id.empty();
  options.notes = notes;
  options.on_message = [source = rows.get()](const std::string& topic, absl::string_view payload) {
    source->Push(topic, payload);
  };
  ASSIGN_OR_RETURN(rows->connection_, MqttConnection::Open(std::move(options)));
  return rows;
}

MqttRows::~MqttRows() {
  {
    absl::MutexLock lock(&mutex_);
    closing_ = true;
  }
  connection_.reset();
  close(waiting_fd_);
}

void MqttRows::Push(const std::string& topic, absl::string_view payload) {
  absl::MutexLock lock(&mutex_);
  const auto can_go_on = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return waiting_.size() < kMaxWaiting || closing_;
  };
  mutex_.Await(absl::Condition(&can_go_on));
  if (closing_) return;
  const bool fits = payload.size() <= kMaxPayloadBytes;
  waiting_.push_back({topic, fits ? std::string(payload) : std::string(), payload.size()});
  static_cast<void>(eventfd_write(waiting_fd_, 1));
}

MqttRows::Message MqttRows::Pop() {
  eventfd_t one = 0;
  static_cast<void>(eventfd_read(waiting_fd_, &one));
  absl::MutexLock lock(&mutex_);
  Message message = std::move(waiting_.front());
  waiting_.pop_front();
  return message;
}

void MqttRows::PassOver(const Message& message, absl::string_view why) {
  ++passed_over_;
  if (notes_ == nullptr || (passed_over_ > kNotesAtFirst && passed_over_ % kNoteEvery != 0)) return;
  notes_->Say(absl::StrCat("topic ", ShownText(message.topic, 100), ": passed over: ", why,
                           passed_over_ > 1 ? absl::StrCat(" (", passed_over_, " so far)") : ""));
}

absl::StatusOr<bool> MqttRows::Next(Row* row) {
  for (;;) {
    std::array<pollfd, 2> waits = {{{waiting_fd_, POLLIN, 0}, {stop_fd_, POLLIN, 0}}};
    while (poll(waits.data(), waits.size(), -1) < 0 && errno == EINTR) continue;
    if (waits[1].revents != 0) return absl::CancelledError("stopped");
    const Message message = Pop();
    if (message.size > kMaxPayloadBytes) {
      PassOver(message, absl::StrCat("expected at most ", kMaxPayloadBytes, " bytes, got ", message.size));
      continue;
    }
    if (const absl::Status status = parser_.Parse(message.payload, row); !status.ok()) {
      PassOver(message, status.message());
      continue;
    }
    if (address_.entity_from_topic) row->entity = message.topic;
    row->number = ++row_;
    return true;
  }
}

}  // namespace astray
