// recipe + data -> fitted pipeline -> trained network -> calibration -> detector and its quality report.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/recipe.pb.h"
#include "astray/v1/report.pb.h"
#include "engine/data/dataset.h"
#include "engine/detect/detector.h"
#include "engine/train/trainer.h"

namespace astray {

struct TrainedDetector {
  std::shared_ptr<const Detector> detector;  // version 0 until WriteArtifact gives it one
  astray::v1::TrainingReport report;
  std::vector<float> golden_rows;  // a few held-out rows for golden.pb
};

// `recipe` may be incomplete; `dataset` is normal rows, time-ordered where it has timestamps. Its segments get
// thresholds as in Calibrate, from their held-out rows; each entity then has such rows, where it is long enough.
// InvalidArgument: a recipe that cannot work, data that cannot be learned from (too few rows, a column without
// values). Internal, with what to change: a loss that became non-finite.
// The same recipe and data give the same bytes, whatever the threads. `progress` is called at every validation; may be
// empty. With a checkpoint path, a training that was killed goes on from there (TrainNetwork). `log` is what made the
// rows of a recipe with features.log (log_training.h), else null.
absl::StatusOr<TrainedDetector> Train(const astray::v1::Recipe& recipe, const Dataset& dataset,
                                      const ProgressCallback& progress, const std::string& checkpoint_path = "",
                                      std::shared_ptr<const LogTransform> log = nullptr, size_t threads = 1);

}  // namespace astray
