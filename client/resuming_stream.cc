#include "client/resuming_stream.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace astray {
ResumingStream::ResumingStream(Client* client, Options options)
    : client_(client),
      options_(std::move(options)),
      capacity_(std::clamp<size_t>(
          kMaxRememberedValues / std::max<size_t>(1, options_.features * std::max<size_t>(1, options_.memory_rows)),
          256, kMaxEntities)),
      call_(client->ScoreStream()),
      sender_([this] { SendAll(); }) {}

ResumingStream::~ResumingStream() {
  {
    absl::MutexLock lock(&mutex_);
    End(absl::CancelledError("cancelled"));
    call_->Cancel();
  }
  sender_.join();
}

void ResumingStream::End(const absl::Status& status) {
  if (ended_) return;
  ended_ = true;
  status_ = status;
}

bool ResumingStream::MayWrite() const { return ended_ || unanswered_.size() < options_.max_unanswered; }

bool ResumingStream::Write(v1::ScoreStreamRequest request) {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(this, &ResumingStream::MayWrite));
  if (ended_) return false;
  Sent sent = {.id = std::move(*request.mutable_id()), .request = nullptr};
  request.set_id(absl::StrCat(next_number_));
  sent.request = std::make_shared<v1::ScoreStreamRequest>(std::move(request));
  unanswered_.emplace(next_number_++, std::move(sent));
  return true;
}

void ResumingStream::WritesDone() {
  absl::MutexLock lock(&mutex_);
  writes_done_ = true;
}

bool ResumingStream::HasToSend() const {
  if (ended_) return true;
  return !broken_ && (next_to_send_ < next_number_ || (writes_done_ && !half_closed_));
}

std::vector<std::shared_ptr<const v1::ScoreStreamRequest>> ResumingStream::TakeNext() {
  std::vector<std::shared_ptr<v1::ScoreStreamRequest>> messages;
  const auto next = unanswered_.lower_bound(next_to_send_);
  if (next == unanswered_.end()) {
    next_to_send_ = next_number_;
    return {};
  }
  next_to_send_ = next->first + 1;
  const std::shared_ptr<v1::ScoreStreamRequest>& request = next->second.request;
  const std::string& entity = request->entity();
  if (resumed_ && replayed_.insert(entity).second) {
    if (const auto known = places_.find(entity); known != places_.end()) {
      for (std::shared_ptr<v1::ScoreStreamRequest>& replay : Replays(*known->second)) {
        messages.push_back(std::move(replay));
      }
    }
  }
  messages.push_back(request);
  if (!std::exchange(begun_, true)) {
    *messages.front()->mutable_model() = options_.model;
    *messages.front()->mutable_options() = options_.score;
  }
  return {messages.begin(), messages.end()};
}

std::vector<std::shared_ptr<v1::ScoreStreamRequest>> ResumingStream::Replays(const Memory& memory) {
  const bool timed = std::ranges::none_of(memory.rows, [](const RememberedRow& row) { return std::isnan(row.time); });
  std::vector<std::shared_ptr<v1::ScoreStreamRequest>> replays;
  for (const RememberedRow& row : memory.rows) {
    // A message is of one segment; the last one says what the alarm is.
    if (replays.empty() || replays.back()->segment() != row.segment) {
      replays.push_back(std::make_shared<v1::ScoreStreamRequest>());
      replays.back()->set_entity(memory.entity);
      replays.back()->set_segment(row.segment);
      replays.back()->set_replay(true);
    }
    replays.back()->mutable_values()->Add(row.values.begin(), row.values.end());
    if (timed) replays.back()->add_time_unix_seconds(row.time);
  }
  if (!replays.empty()) *replays.back()->mutable_alarm() = memory.alarm;
  return replays;
}

void ResumingStream::SendAll() {
  while (true) {
    std::vector<std::shared_ptr<const v1::ScoreStreamRequest>> messages;
    std::shared_ptr<ScoreStreamCall> call;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &ResumingStream::HasToSend));
      if (ended_) return;
      messages = TakeNext();
      if (messages.empty() && next_to_send_ == next_number_) {
        if (!writes_done_ || std::exchange(half_closed_, true)) continue;
      }
      call = call_;
      sending_ = true;
    }
    bool sent = true;
    if (messages.empty()) call->WritesDone();
    for (const auto& message : messages) sent = sent && call->Write(*message);
    absl::MutexLock lock(&mutex_);
    sending_ = false;
    if (!sent && call == call_) broken_ = true;  // Read sees why
  }
}

bool ResumingStream::Read(v1::ScoreResponse* response) {
  while (true) {
    std::shared_ptr<ScoreStreamCall> call;
    {
      absl::MutexLock lock(&mutex_);
      if (ended_) return false;
      call = call_;
    }
    if (call->Read(response)) {
      last_answer_ = absl::Now();
      absl::MutexLock lock(&mutex_);
      if (Accept(response)) return true;
      End(absl::InternalError("the server answered what it was not sent"));
      call->Cancel();
      return false;
    }
    {
      absl::MutexLock lock(&mutex_);
      broken_ = true;
      mutex_.Await(absl::Condition(this, &ResumingStream::NotSending));
    }
    absl::Status status = call->Finish();
    if (status.ok()) {
      absl::MutexLock lock(&mutex_);
      const bool all = unanswered_.empty() && writes_done_;
      End(all ? absl::OkStatus() : absl::InternalError("the server ended the stream before the rows did"));
      return false;
    }
    if (!Reconnect(status)) return false;
  }
}

bool ResumingStream::Reconnect(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  const absl::Duration silent = absl::Now() - last_answer_;
  if (!absl::IsUnavailable(status) || silent > options_.give_up_after) {
    End(status);
    return false;
  }
  if (options_.on_broken && !backoff_.waited()) options_.on_broken(status);
  if (mutex_.AwaitWithTimeout(absl::Condition(this, &ResumingStream::Ended), backoff_.Next())) return false;
  call_ = client_->ScoreStream();
  begun_ = half_closed_ = broken_ = false;
  resumed_ = true;
  replayed_.clear();
  next_to_send_ = 0;
  return true;
}

bool ResumingStream::Accept(v1::ScoreResponse* response) {
  backoff_.Reset();
  uint64_t number = 0;
  if (!absl::SimpleAtoi(response->id(), &number)) return false;
  const auto sent = unanswered_.find(number);
  if (sent == unanswered_.end() || static_cast<size_t>(sent->second.request->values_size()) !=
                                       static_cast<size_t>(response->verdicts_size()) * options_.features) {
    return false;
  }
  Remember(*sent->second.request, *response);
  response->set_id(std::move(sent->second.id));
  unanswered_.erase(sent);
  return true;
}

ResumingStream::Memory& ResumingStream::MemoryOf(absl::string_view entity) {
  if (const auto known = places_.find(entity); known != places_.end()) {
    memory_.splice(memory_.begin(), memory_, known->second);
    return memory_.front();
  }
  if (memory_.size() == capacity_) {
    places_.erase(memory_.back().entity);
    memory_.pop_back();
  }
  memory_.push_front({.entity = std::string(entity), .rows = {}, .alarm = {}});
  places_.emplace(memory_.front().entity, memory_.begin());
  return memory_.front();
}

void ResumingStream::Remember(const v1::ScoreStreamRequest& request, const v1::ScoreResponse& response) {
  Memory& memory = MemoryOf(request.entity());
  const size_t kept = std::max<size_t>(1, options_.memory_rows);  // one at least says where its times are
  for (int i = 0; i < response.verdicts_size(); ++i) {
    const v1::Verdict& verdict = response.verdicts(i);
    if (verdict.state() == v1::Verdict::LATE || verdict.state() == v1::Verdict::DUPLICATE) continue;
    const float* values = request.values().data() + static_cast<size_t>(i) * options_.features;
    RememberedRow row = {.time = std::numeric_limits<double>::quiet_NaN(),
                         .values = std::vector<float>(values, values + options_.features),
                         .segment = request.segment()};
    auto place = memory.rows.end();
    if (request.time_unix_seconds_size() > 0) {
      row.time = request.time_unix_seconds(i);
      while (place != memory.rows.begin() && std::prev(place)->time > row.time) --place;
    }
    if (place == memory.rows.end()) memory.alarm = verdict.alarm();
    memory.rows.insert(place, std::move(row));
    if (memory.rows.size() > kept) memory.rows.pop_front();
  }
}

absl::Status ResumingStream::Finish() {
  absl::MutexLock lock(&mutex_);
  return status_;
}

}  // namespace astray
