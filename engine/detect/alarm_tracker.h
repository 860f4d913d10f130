// One entity's verdicts as alarms: k of the last n rows raise one, hysteresis ends it (recipe.proto's AlarmRecipe).
// Its state is that of the last rows and the alarm itself, so that it can be made again from them. Not thread-safe.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "astray/v1/service.pb.h"
#include "engine/detect/stream_policy.h"

namespace astray {

class AlarmTracker {
 public:
  static constexpr int kMaxCauses = 8;         // named
  static constexpr size_t kMaxFeatures = 256;  // told apart

  // `policy` must outlive it.
  explicit AlarmTracker(const StreamPolicy* policy) : policy_(policy) {}

  // The next row's verdict, which gets its alarm, if there is one. time: of the row, in Unix seconds; 0 for none.
  // Verdicts without a score change nothing.
  void Update(double time, astray::v1::Verdict* verdict);

  // A row that was answered before: remembered, raises nothing.
  void Observe(double time, const astray::v1::Verdict& verdict);
  // The alarm that the last such row had.
  void Restore(const astray::v1::Alarm& alarm);

  // Forgets the rows so far, where a new window begins; an alarm stays until it ends.
  void Restart() { rows_.clear(); }

 private:
  struct SeenRow {
    double time;
    float score, smoothed;
    std::vector<astray::v1::Contribution> blamed;  // of an anomalous row
  };

  size_t Anomalous() const;  // among the last of_rows
  bool Calm() const;
  void Raise();
  void Join(const SeenRow& row);
  void Show(astray::v1::Alarm* shown) const;

  const StreamPolicy* policy_;
  std::vector<SeenRow> rows_;                 // the last alarm_memory_rows() + 1
  std::unique_ptr<astray::v1::Alarm> alarm_;  // while there is one; causes: share x total_score, in no order
};

}  // namespace astray
