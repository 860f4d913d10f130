#include "engine/features/log_sessions.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "engine/base/utf8.h"

namespace astray {
namespace {

// Debian's Abseil has a string_view of its own.
absl::string_view Key(std::string_view key) { return {key.data(), key.size()}; }

}  // namespace

LogSessions::LogSessions(const LogTransform* transform, size_t max_open)
    : LogSessions(
          &transform->rules(),
          [transform](std::string_view line) { return transform->Event(line).value_or(kUnknownEvent); }, max_open) {}

LogSessions::LogSessions(const LogRules* rules, EventFunction event, size_t max_open)
    : rules_(rules),
      event_(std::move(event)),
      max_open_(std::max<size_t>(max_open, 1)),
      idle_seconds_(rules->recipe().has_session_pattern() ? rules->recipe().idle_seconds() : 0),
      slots_(1) {}

void LogSessions::Unlink(Link Slot::*ring, uint32_t slot) {
  const Link link = slots_[slot].*ring;
  (slots_[link.previous].*ring).next = link.next;
  (slots_[link.next].*ring).previous = link.previous;
  slots_[slot].*ring = {slot, slot};
}

void LogSessions::LinkLast(Link Slot::*ring, uint32_t slot) {
  const uint32_t last = (slots_[0].*ring).previous;
  slots_[slot].*ring = {.previous = last, .next = 0};
  (slots_[last].*ring).next = slot;
  (slots_[0].*ring).previous = slot;
}

std::string_view LogSessions::WindowKey() {
  if (rules_->recipe().has_window_lines()) {
    window_key_ = absl::StrCat(lines_);
  } else {
    const absl::Time begin = absl::UnixEpoch() + absl::Seconds(*window_ * rules_->recipe().window_seconds());
    window_key_ = absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", begin, absl::UTCTimeZone());
  }
  return window_key_;
}

std::optional<std::string_view> LogSessions::KeyOf(std::string_view line, std::optional<double> time) {
  const v1::LogRecipe& recipe = rules_->recipe();
  switch (recipe.grouping_case()) {
    case v1::LogRecipe::kSessionPattern: {
      const auto key = rules_->SessionKey(line);
      if (!key) return std::nullopt;
      return key->substr(0, kMaxKeyBytes);
    }
    case v1::LogRecipe::kWindowSeconds: {
      const double window = time ? std::floor(*time / recipe.window_seconds()) : 0;
      if (time && (!window_ || window > *window_ || window < *window_ - 1)) {
        window_ = window;
        return WindowKey();
      }
      if (!window_) return std::nullopt;
      return window_key_;
    }
    default:
      if (!window_ || static_cast<double>(lines_) >= *window_ + recipe.window_lines()) {
        window_ = static_cast<double>(lines_);
        return WindowKey();
      }
      return window_key_;
  }
}

uint32_t LogSessions::Open(std::string_view key) {
  uint32_t slot = static_cast<uint32_t>(slots_.size());
  if (free_.empty()) {
    slots_.emplace_back();
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  keys_.emplace(key, slot);
  slots_[slot].key.assign(key);
  slots_[slot].session.key = ReadableUtf8(key, kMaxKeyBytes);
  slots_[slot].session.first_line = lines_;
  slots_[slot].timed = {slot, slot};
  LinkLast(&Slot::used, slot);
  return slot;
}

void LogSessions::Close(uint32_t slot, std::vector<LogSession>* closed) {
  open_events_ -= slots_[slot].session.events.size();
  closed->push_back(std::exchange(slots_[slot].session, {}));
  keys_.erase(slots_[slot].key);
  Unlink(&Slot::used, slot);
  if (slots_[slot].timed.next != slot) Unlink(&Slot::timed, slot);
  free_.push_back(slot);
}

void LogSessions::CloseIdle(double now, std::vector<LogSession>* closed) {
  if (idle_seconds_ == 0) return;
  while (true) {
    const uint32_t oldest = slots_[0].timed.next;
    if (oldest == 0 || *slots_[oldest].session.last_time > now - idle_seconds_) return;
    Close(oldest, closed);
  }
}

void LogSessions::Add(std::string_view line, std::vector<LogSession>* closed) {
  ++lines_;
  const std::optional<double> time = rules_->Time(line);
  if (time) CloseIdle(*time, closed);
  const std::optional<std::string_view> key = KeyOf(line, time);
  if (!key) {
    ++lines_without_session_;
    return;
  }
  const auto known = keys_.find(Key(*key));
  uint32_t slot = 0;
  if (known != keys_.end()) {
    slot = known->second;
  } else {
    // One window at a time.
    if (!rules_->recipe().has_session_pattern()) Flush(closed);
    if (keys_.size() >= max_open_) Close(slots_[0].used.next, closed);
    slot = Open(*key);
  }
  while (open_events_ >= kMaxOpenEvents && slots_[0].used.next != slot) Close(slots_[0].used.next, closed);

  LogSession& session = slots_[slot].session;
  const uint32_t event = event_(line);
  if (event == kUnknownEvent && session.unknown_line.empty()) {
    session.unknown_line = ReadableUtf8(line.substr(0, kMaxUnknownLineBytes), kMaxUnknownLineBytes);
  }
  session.events.push_back(event);
  ++session.lines;
  ++open_events_;
  Unlink(&Slot::used, slot);
  LinkLast(&Slot::used, slot);
  if (time) {
    if (!session.first_time) session.first_time = time;
    session.last_time = time;
    if (slots_[slot].timed.next != slot) Unlink(&Slot::timed, slot);
    LinkLast(&Slot::timed, slot);
  }
  if (session.events.size() >= kMaxEvents) Close(slot, closed);
}

void LogSessions::Flush(std::vector<LogSession>* closed) {
  while (slots_[0].used.next != 0) Close(slots_[0].used.next, closed);
}

}  // namespace astray
