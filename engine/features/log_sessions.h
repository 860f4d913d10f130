// Groups the lines of a log into sessions as they come, with bounded memory whatever the lines: at most `max_open`
// sessions are open, of at most kMaxOpenEvents lines together, and the one silent longest is closed where there would
// be more. A session is closed, too, when it is idle (LogRecipe.idle_seconds), when its window is over, and at
// kMaxEvents lines; a later line with its key begins it again. Not thread-safe.
//
//   LogSessions sessions(&transform);
//   for each line: sessions.Add(line, &closed);   // then score and clear `closed`
//   sessions.Flush(&closed);
//
// Windows of time: the line that begins a window ends the one before. A line late by up to one window joins the present
// one, and so does a line without a time; before the first time there is no window. A clock that goes back further
// begins a window there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/features/log_rules.h"
#include "engine/features/log_transform.h"

namespace astray {

struct LogSession {
  std::string key;  // readable UTF-8. Of windows: the first line's number, the window's begin (RFC 3339, UTC)
  uint64_t first_line = 0, lines = 0;           // lines are counted from 1
  std::optional<double> first_time, last_time;  // seconds since 1970, of the first and the last line with a time
  std::vector<uint32_t> events;                 // template ids, kUnknownEvent for lines without one; one a line
  std::string unknown_line;                     // the first of those, readable UTF-8; empty without
};

class LogSessions {
 public:
  static constexpr size_t kMaxOpen = 100'000;
  static constexpr size_t kMaxEvents = 100'000;
  static constexpr size_t kMaxOpenEvents = size_t{1} << 26;
  static constexpr size_t kMaxKeyBytes = 256;
  static constexpr size_t kMaxUnknownLineBytes = 1000;
  using EventFunction = std::function<uint32_t(std::string_view line)>;  // kUnknownEvent for none

  // What they point to outlives this.
  explicit LogSessions(const LogTransform* transform, size_t max_open = kMaxOpen);
  LogSessions(const LogRules* rules, EventFunction event, size_t max_open = kMaxOpen);

  // Appends the sessions that the line closes, then counts it in.
  void Add(std::string_view line, std::vector<LogSession>* closed);
  // Closes all that are open, the one silent longest first.
  void Flush(std::vector<LogSession>* closed);

  size_t open() const { return keys_.size(); }
  uint64_t lines() const { return lines_; }
  uint64_t lines_without_session() const { return lines_without_session_; }

 private:
  // Open sessions lie in slots, which are used again, and in two rings through slot 0, the oldest first: by their last
  // line, and, where they have a time, by their last line with one.
  struct Link {
    uint32_t previous = 0, next = 0;
  };
  struct Slot {
    LogSession session;
    std::string key;  // as it is in the lines
    Link used, timed;
  };

  std::optional<std::string_view> KeyOf(std::string_view line, std::optional<double> time);
  std::string_view WindowKey();
  uint32_t Open(std::string_view key);
  void Close(uint32_t slot, std::vector<LogSession>* closed);
  void CloseIdle(double now, std::vector<LogSession>* closed);
  void Unlink(Link Slot::*ring, uint32_t slot);
  void LinkLast(Link Slot::*ring, uint32_t slot);

  const LogRules* rules_;
  EventFunction event_;
  size_t max_open_;
  double idle_seconds_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  absl::flat_hash_map<std::string, uint32_t> keys_;
  size_t open_events_ = 0;
  uint64_t lines_ = 0, lines_without_session_ = 0;
  std::optional<double> window_;  // the present one's number, of time; its first line's, of lines
  std::string window_key_;
};

}  // namespace astray
