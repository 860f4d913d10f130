// One Calibrate call, whatever the transport: gathers the errors of normal rows, then makes a calibration of them.
// Memory is bounded, but for the windows of at most EntityStreams::kMaxEntities entities, however many rows come. Calls
// follow one another; each starts when the one before is done.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "astray/v1/service.pb.h"
#include "engine/base/random.h"
#include "engine/detect/autocorrelation.h"
#include "engine/detect/block_picker.h"
#include "engine/detect/calibration_samples.h"
#include "engine/detect/missingness_probe.h"
#include "engine/detect/row_history.h"
#include "engine/features/log_sessions.h"
#include "server/calibration_feedback.h"
#include "server/detector_registry.h"
#include "server/feedback_store.h"
#include "server/scoring.h"
#include "server/scoring_queue.h"

namespace astray {

class CalibrationRun {
 public:
  // All must outlive the run.
  CalibrationRun(DetectorRegistry* registry, ScoringQueue* queue, FeedbackStore* feedback, uint64_t max_rows)
      : registry_(registry), queue_(queue), feedback_store_(feedback), max_rows_(max_rows) {}

  // Takes the next message: the header first, for which files are read, then rows, which must live until `done`; it is
  // called once, on another thread or before this returns. InvalidArgument names what is wrong with the message.
  void Add(const v1::CalibrateRequest& request, std::shared_ptr<const std::atomic<bool>> cancelled,
           const std::function<void(absl::Status)>& done);

  // Saves, and promotes where the header says so. Sorts and writes files.
  absl::Status Finish(v1::CalibrateResponse* response);

 private:
  static constexpr size_t kMaxRemembered = 65'536;
  static constexpr uint64_t kRememberSeed = 0x666c6167;

  absl::Status Begin(const v1::CalibrateHeader& header);
  absl::Status CheckRows(const v1::CalibrateRows& rows);
  absl::Status AddLines(const v1::CalibrateLines& lines);  // the sessions that they complete become session_rows_
  // The rows with those of their entity before them. InvalidArgument for too many entities.
  absl::StatusOr<std::span<const float>> WithHistory(const v1::CalibrateRows& rows);
  absl::Status CountRows(size_t rows);
  absl::Status CalibrateOpenSessions();
  // The verdicts of `rows`, which have those of the entity before them.
  absl::Status TakeChunk(std::span<const float> rows, const std::string& entity, const std::string& segment);
  void Remember(float error, const std::string& segment, uint8_t missing_level);
  // Those that are not among `merged`, which is left with those that are still kept, so that it does not grow for ever.
  absl::StatusOr<uint64_t> AddFalseAlarms(std::vector<uint64_t>* merged);
  double FlaggedRatio(const Calibration& calibration) const;
  BlockPicker& PickerOf(const std::string& entity);

  DetectorRegistry* registry_;
  ScoringQueue* queue_;
  FeedbackStore* feedback_store_;
  std::shared_ptr<const Detector> detector_;
  const uint64_t max_rows_;
  bool begun_ = false;
  v1::CalibrateHeader header_;
  uint64_t rows_ = 0;
  std::map<std::string, RowHistory, std::less<>> histories_;  // by entity
  std::optional<LogSessions> sessions_;
  std::vector<LogSession> closed_;
  std::vector<float> session_rows_;
  std::optional<CalibrationFeedback> feedback_;
  std::vector<Verdict> chunk_;  // of the rows being added

  CalibrationSamples samples_;
  AutocorrelationTrace trace_;
  std::optional<MissingnessProbe> probe_;
  std::map<std::string, BlockPicker, std::less<>> pickers_;  // by entity, where there are blocks
  uint64_t vectors_ = 0, flagged_ = 0;                       // scored so far; above the live thresholds
  // A part of them, each with the same chance: what a new calibration would make of them.
  struct RememberedVector {
    float error;
    uint32_t segment;  // its place in segment_names_
    uint8_t missing_level;
  };
  std::vector<RememberedVector> remembered_;
  std::map<std::string, uint32_t, std::less<>> segment_names_;
  Random random_{kRememberSeed};
};

}  // namespace astray
