// The search for the sweet spot of a denoising autoencoder: how strong a corruption, how wide a code.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/recipe.pb.h"
#include "astray/v1/report.pb.h"
#include "engine/data/dataset.h"
#include "engine/features/log_transform.h"

namespace astray {

struct TuningOptions {
  std::vector<double> levels;    // empty: chosen for the recipe's corruption
  std::vector<uint32_t> widths;  // of the code; empty: a quarter, half, once and twice a vector's values, at most 256
  const Dataset* labelled = nullptr;  // rows to judge on; null: a fifth of `dataset`, in which anomalies are injected
  std::shared_ptr<const LogTransform> log;  // that made the rows of a log, which are judged on labelled ones only
  size_t threads = 1;
};

// Trains one candidate for each level and width and judges each by the AUROC of its errors. `recipe` may be incomplete;
// its network is to be an encoder or a preset of one. The same recipe, data and options give the same report, whatever
// the threads. `progress` is called with the number of candidates done, from one thread at a time.
// InvalidArgument as for Train, for a level or a width out of range (it names the candidate), and for a log without
// labelled rows.
absl::StatusOr<astray::v1::TuningReport> Tune(const astray::v1::Recipe& recipe, const Dataset& dataset,
                                              const TuningOptions& options,
                                              const std::function<void(size_t done, size_t all)>& progress);

// The recipe with the level of its first corruption that has one, and the width of its code. `recipe` is complete.
// Levels: the sigma of Gaussian noise, the probability that a value or token is changed, the share in spans.
// InvalidArgument where no corruption has a level, or where the network is a list of layers.
absl::StatusOr<astray::v1::Recipe> WithLevelAndWidth(astray::v1::Recipe recipe, double level, uint32_t width);

// Anomalies that look normal feature by feature: in runs of `run` rows, `run` + `window` rows apart, some features (one
// to all, few more often than many) take the values that they have elsewhere, or move by two standard deviations.
// Returns labels, 1 in the runs;
// 2 where a window reaches back into one, which is neither.
std::vector<uint8_t> InjectAnomalies(size_t run, size_t window, uint64_t seed, Dataset* dataset);

}  // namespace astray
