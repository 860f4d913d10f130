// How long to wait before each attempt to reach somebody who is away: 100 ms, then twice as long each time, up to
// `longest`.
#pragma once

#include <algorithm>

#include "absl/time/time.h"

namespace astray {

class Backoff {
 public:
  explicit Backoff(absl::Duration longest) : longest_(longest) {}

  absl::Duration Next() { return wait_ = std::clamp(2 * wait_, absl::Milliseconds(100), longest_); }
  void Reset() { wait_ = absl::ZeroDuration(); }
  bool waited() const { return wait_ > absl::ZeroDuration(); }  // since the last Reset

 private:
  absl::Duration longest_, wait_;
};

inline constexpr absl::Duration kLongestServerBackoff = absl::Seconds(2);

}  // namespace astray
