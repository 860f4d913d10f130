// Puts one entity's rows in the order of their times, before they enter its window. Rows are known by a number that
// the caller chooses. Not thread-safe.
//
// A row waits until one later by the tolerance has come. Of rows with one time the first counts. A row that is earlier
// than one which went on is late; after kClockSetBackRows late ones in ascending order the clock was set back, and the
// window begins anew.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <vector>

#include "engine/detect/stream_policy.h"

namespace astray {

class RowOrder {
 public:
  static constexpr size_t kClockSetBackRows = 10;
  static constexpr size_t kMaxHeldRows = 1024;  // then the first goes on early

  enum class Place : uint8_t { kTaken, kLate, kDuplicate };
  struct Next {
    uint64_t row;
    double time;
    bool restart;  // the window begins anew with it: after a gap, or where the clock was set back
  };

  // `policy` must outlive it.
  explicit RowOrder(const StreamPolicy* policy) : policy_(policy) {}

  // Appends to `next` what goes on now, in order; with no tolerance that is the row itself.
  Place Take(uint64_t row, double time, std::vector<Next>* next);
  // A row that was answered before goes on, after all that came before it.
  void Replay(uint64_t row, double time, std::vector<Next>* next);
  // What waits, up to the time given, goes on.
  void Release(double up_to, std::vector<Next>* next);
  void ReleaseAll(std::vector<Next>* next) { Release(std::numeric_limits<double>::infinity(), next); }

  size_t held() const { return held_.size(); }

 private:
  static constexpr size_t kRememberedTimes = 8;
  void GoOn(uint64_t row, double time, bool restart, std::vector<Next>* next);
  bool WentOn(double time) const;

  const StreamPolicy* policy_;
  std::map<double, uint64_t> held_;
  double newest_ = -std::numeric_limits<double>::infinity();
  double last_ = -std::numeric_limits<double>::infinity();  // that went on
  std::array<double, kRememberedTimes> went_on_;
  size_t went_on_count_ = 0;
  size_t late_rows_ = 0;  // one after the other
  double last_late_ = -std::numeric_limits<double>::infinity();
};

}  // namespace astray
