// The detectors being served: (name, version or label) -> detector, kept in step with models/<name>/<version>/ and with
// what operators decided (calibration_store.h). Thread-safe.
//
// Find takes a lock only to copy a pointer to an immutable snapshot; it never waits for a load. Changes (Poll, Load,
// Unload, labels, calibrations) are made one at a time, and each becomes visible all at once.
//
// Requests that name neither a version nor a label go to the version that was promoted last (FindLive), or to the
// latest. Every decision that is written has the next number (`change`); what is found names the last one that it knows
// of.
//
// A version that does not load, or not any more, is tried again when its folder changes; what served before goes on
// serving. A version whose folder is gone stops serving. Unloaded versions stay so until Load or a restart.
// A promoted calibration that cannot be used is logged and counted, and the artifact's own serves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "astray/v1/service.pb.h"
#include "engine/detect/detector.h"
#include "server/background_lane.h"
#include "server/calibration_store.h"
#include "server/metrics.h"
#include "server/registry_snapshot.h"

namespace astray {

struct ServedDetector {
  std::shared_ptr<const Detector> detector;
  std::shared_ptr<ModelMetrics> metrics;
  std::shared_ptr<DriftMonitor> drift;
  std::shared_ptr<Shadow> shadow = nullptr;  // where it is the live version, and a candidate is beside it
  uint64_t change = 0;                       // as in v1::Provenance
};

class DetectorRegistry {
 public:
  static constexpr size_t kKeepCalibrations = 16;

  // Loads nothing yet. `metrics` must outlive the registry and the metrics that it gave out.
  // keep_calibrations: of each version's calibrations the newest so many stay, beside what is live, what rollback
  // returns to and what is in shadow; so many promotions of calibrations, the live one among them, and no fewer than
  // two, can be taken back. 0: all.
  DetectorRegistry(std::filesystem::path base_path, Metrics* metrics, size_t keep_calibrations = kKeepCalibrations);

  // InvalidArgument without a name; NotFound says what there is instead; Unavailable while the first Poll may still
  // find it.
  absl::StatusOr<ServedDetector> Find(const v1::ModelRef& ref) const;
  // What is served now, and Find in it: for several calls, all of which must have arrived before Current.
  std::shared_ptr<const RegistrySnapshot> Current() const ABSL_LOCKS_EXCLUDED(snapshot_mutex_);
  absl::StatusOr<ServedDetector> Find(const RegistrySnapshot& current, const v1::ModelRef& ref) const;

  // Looks at the model folder. An error (the folder cannot be listed) changes nothing.
  absl::Status Poll() ABSL_LOCKS_EXCLUDED(change_mutex_);
  // True from the first Poll on that finds a detector to serve, or no version at all.
  bool ready() const ABSL_LOCKS_EXCLUDED(snapshot_mutex_);

  // Reads every version again. NotFound: no such folder; FailedPrecondition: no version serves, with the reason.
  absl::StatusOr<v1::ModelSummary> Load(const std::string& name) ABSL_LOCKS_EXCLUDED(change_mutex_);
  absl::StatusOr<v1::ModelSummary> Unload(const std::string& name, int64_t version) ABSL_LOCKS_EXCLUDED(change_mutex_);
  absl::StatusOr<v1::ModelSummary> SetLabel(const std::string& name, const std::string& label, int64_t version)
      ABSL_LOCKS_EXCLUDED(change_mutex_);
  v1::ListModelsResponse List() const;
  void RecordDrift() const;                                                      // of every version, in metrics
  absl::StatusOr<v1::ModelDescription> Describe(const v1::ModelRef& ref) const;  // reads calibration files

  // Makes a calibration of `samples` with the next epoch and saves it; with `promote`, makes it live too. Then removes
  // those that are not kept.
  // FailedPrecondition: too few errors for the rate and no tail, a folder that cannot be written.
  // Aborted: `detector`'s artifact is not served any more.
  absl::StatusOr<std::shared_ptr<const Calibration>> AddCalibration(const Detector& detector,
                                                                    CalibrationSamples samples,
                                                                    double false_positive_rate, bool promote)
      ABSL_LOCKS_EXCLUDED(change_mutex_);
  // Promoting what is live already leaves nothing to undo. NotFound, FailedPrecondition: no such calibration, or not of
  // this artifact; a gate (may be null) that does not hold. What was the shadow is it no longer.
  absl::StatusOr<v1::CalibrationChange> Promote(const v1::ModelRef& ref, uint64_t epoch, const v1::PromotionGate* gate)
      ABSL_LOCKS_EXCLUDED(change_mutex_);
  absl::StatusOr<v1::CalibrationChange> PromoteVersion(const std::string& name, int64_t number,
                                                       const v1::PromotionGate* gate)
      ABSL_LOCKS_EXCLUDED(change_mutex_);
  absl::StatusOr<v1::CalibrationChange> Rollback(const v1::ModelRef& ref) ABSL_LOCKS_EXCLUDED(change_mutex_);
  absl::StatusOr<v1::SetShadowResponse> SetShadow(const v1::SetShadowRequest& request)
      ABSL_LOCKS_EXCLUDED(change_mutex_);
  // Until shadows have scored what they were offered.
  void AwaitShadows() { lane_.AwaitIdle(); }

 private:
  absl::StatusOr<const ServedVersion*> FindIn(const RegistrySnapshot& current, const v1::ModelRef& ref) const
      ABSL_LOCKS_EXCLUDED(snapshot_mutex_);
  // Makes `model` what is served, its versions with the model's change and the live one with the model's shadow.
  void Publish(const std::string& name, ServedModel model) ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);
  void Remove(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);
  void SetSnapshot(std::shared_ptr<const RegistrySnapshot> next) ABSL_LOCKS_EXCLUDED(snapshot_mutex_);

  // Brings a model in step with its folder; `force` reads every version again and forgets Unload.
  absl::Status Refresh(const std::string& name, bool force) ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);
  void RefreshState(const std::string& name, ServedModel* model) ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);
  void LoadVersion(const std::string& name, const v1::ServingState& state, ServedVersion* version)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);
  void UpdateReadiness() ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);

  // A copy of a model that has versions, to change and publish. NotFound.
  absl::StatusOr<ServedModel> CopyModel(const std::string& name) const;
  // The serving state on disk, to change and write. FailedPrecondition where it cannot be read: it is not replaced.
  absl::StatusOr<v1::ServingState> ReadStateToChange(const std::string& name) const;
  absl::Status WriteState(const std::string& name, v1::ServingState state, ServedModel* model)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);

  // Removes calibrations of a version that are not kept. A failure is logged; nothing that the state on disk or what is
  // served names is removed, so that a crash in between leaves nothing without its calibration.
  void PruneCalibrations(const std::string& name, int64_t number) ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);
  // How many promotions of calibrations can be remembered: what they name is kept.
  size_t MostPromotedEpochs() const;

  // Lets the calibration serve that `state` says is live.
  void ApplyLiveCalibration(const std::string& name, const v1::ServingState& state, ServedVersion* version);
  absl::StatusOr<std::shared_ptr<const Calibration>> ReadEpoch(const std::string& name, const ServedVersion& version,
                                                               uint64_t epoch) const;
  // Lets `calibration` serve once `state`, which says so, is on disk.
  absl::StatusOr<v1::CalibrationChange> GoLive(const std::string& name, int64_t number, v1::ServingState state,
                                               std::shared_ptr<const Calibration> calibration)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);
  // The same for the version that `state` makes live. FailedPrecondition where it makes none.
  absl::StatusOr<v1::CalibrationChange> GoLive(const std::string& name, v1::ServingState state)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);
  absl::StatusOr<v1::CalibrationChange> RollBackEpoch(const std::string& name, const ServedVersion& version,
                                                      v1::ServingState state)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);

  // The shadow that model.state asks for: model.shadow where it is the same pair still.
  absl::StatusOr<std::shared_ptr<Shadow>> MakeShadow(const std::string& name, const ServedModel& model) const;

  const std::filesystem::path base_path_;
  const CalibrationStore store_;
  Metrics* const metrics_;
  const size_t keep_calibrations_;  // 0: all
  mutable BackgroundLane lane_;

  absl::Mutex change_mutex_ ABSL_ACQUIRED_BEFORE(snapshot_mutex_);
  bool folder_lost_ ABSL_GUARDED_BY(change_mutex_) = false;
  mutable absl::Mutex snapshot_mutex_;
  std::shared_ptr<const RegistrySnapshot> snapshot_ ABSL_GUARDED_BY(snapshot_mutex_);
  bool ready_ ABSL_GUARDED_BY(snapshot_mutex_) = false;
  bool polled_ ABSL_GUARDED_BY(snapshot_mutex_) = false;
};

}  // namespace astray
