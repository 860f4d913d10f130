// What DetectorRegistry serves at one moment. Snapshots are immutable once published.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "astray/v1/calibration.pb.h"
#include "astray/v1/service.pb.h"
#include "engine/detect/calibration.h"
#include "engine/detect/detector.h"
#include "engine/detect/drift_monitor.h"
#include "server/metrics.h"
#include "server/shadow.h"

namespace astray {

struct ServedVersion {
  int64_t number = 0;
  v1::VersionSummary::State state = v1::VersionSummary::STATE_UNSPECIFIED;
  std::string error;                               // of the last load; what served before may still do
  std::string fingerprint;                         // of the folder at the last load
  std::shared_ptr<const Detector> detector;        // null unless SERVING
  std::shared_ptr<const Calibration> calibration;  // the artifact's own, epoch 1
  std::shared_ptr<ModelMetrics> metrics;
  std::shared_ptr<DriftMonitor> drift;  // of the detector's calibration
  std::shared_ptr<Shadow> shadow;       // of the live version, where one is set
  uint64_t change = 0;                  // the model's

  const std::string& artifact_sha256() const { return detector->model().artifact_sha256; }
  void SetCalibration(std::shared_ptr<const Calibration> live);  // of a version that serves
};

struct ServedModel {
  std::map<int64_t, ServedVersion> versions;
  v1::ServingState state;         // the last that could be read
  std::string state_fingerprint;  // of serving.textproto at the last look
  bool unloaded = false;          // with every version that may still come
  std::shared_ptr<Shadow> shadow;
  std::string shadow_error;  // why there is none, though `state` has one
};

using RegistrySnapshot = std::map<std::string, std::shared_ptr<const ServedModel>>;

// The version that serves `ref`, within `snapshot`. InvalidArgument without a name; NotFound says what there is
// instead.
absl::StatusOr<const ServedVersion*> FindServing(const RegistrySnapshot& snapshot, const v1::ModelRef& ref);

// The same within a model of that name, which has versions.
absl::StatusOr<const ServedVersion*> FindServing(const ServedModel& model, const v1::ModelRef& ref);
// Which serves requests without a version or a label: the promoted one that was promoted last and serves, or the latest
// where none was promoted. NotFound says why none does.
absl::StatusOr<const ServedVersion*> FindLive(const std::string& name, const ServedModel& model);

v1::VersionSummary Summarize(const ServedVersion& version, bool live);
v1::ModelSummary Summarize(const std::string& name, const ServedModel& model);
v1::CalibrationSummary Summarize(const Calibration& calibration, bool live);
v1::ShadowSummary SummarizeShadow(const ServedModel& model);  // whose state has one

}  // namespace astray
