// What users said of a model's verdicts, as one calibration uses it: false alarms are normal, confirmed anomalies are
// not. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "astray/v1/calibration.pb.h"
#include "engine/detect/detector.h"

namespace astray {

class CalibrationFeedback {
 public:
  // Records that are not for this detector (FeedbackWindow) are passed over. The detector must outlive this.
  CalibrationFeedback(const Detector& detector, const std::vector<v1::FeedbackRecord>& records);

  // Makes unscored the verdicts on the vectors of `rows`, verdicts[i] on the one that begins in row i, which hold the
  // newest row of a window that is, bit for bit, a confirmed anomaly. An entity's rows come in order; each call repeats
  // the last window - 1 of the one before. Takes time for each row once, whatever the window.
  void LeaveOutConfirmed(absl::string_view entity, std::span<const float> rows, std::span<Verdict> verdicts);
  uint64_t left_out() const { return left_out_; }  // that were scored before

  struct FalseAlarm {
    uint64_t window;  // stands for it: CalibrationState.false_alarms
    float error;
    uint8_t missing_level;
    std::string segment;  // that was said with it
  };
  // Of their windows, each once; those with nothing observed are left out.
  absl::StatusOr<std::vector<FalseAlarm>> FalseAlarms() const;

 private:
  bool IsConfirmed(std::span<const float> window) const;

  const Detector& detector_;
  std::vector<float> false_alarms_;    // windows, one behind the other
  std::vector<std::string> segments_;  // of each of them
  // Windows by the bytes of their newest row, which few others share.
  absl::flat_hash_map<std::string, std::vector<std::vector<float>>> confirmed_;
  std::map<std::string, size_t, std::less<>> to_come_;  // by entity: further vectors to leave out
  uint64_t left_out_ = 0;
};

}  // namespace astray
