// Trains a network on corrupted vectors against the clean ones, and stops when held-out vectors stop getting better.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/recipe.pb.h"
#include "astray/v1/report.pb.h"
#include "engine/nn/network.h"
#include "engine/train/checkpoint.h"
#include "engine/train/vector_set.h"

namespace astray {

struct TrainProgress {
  uint64_t step = 0, max_steps = 0;
  double training_loss = 0, validation_loss = 0, best_validation_loss = 0;
};

struct TrainingResult {
  uint64_t steps = 0;
  uint64_t best_step = 0;
  double best_validation_loss = 0;
  bool stopped_early = false;
  std::vector<v1::LossPoint> losses;
};

using ProgressCallback = std::function<void(const TrainProgress&)>;

// Changes `network` from its initial to its best parameters: those with the smallest loss on `validation` under one
// fixed draw of the corruption. `recipe` is complete. Deterministic: any number of threads comes to the same bytes.
// With more than one, several read `training` at once.
//
// With a checkpoint, it goes on from its state, if that has begun, and keeps its state there at every validation; ended
// and begun again at any moment, it comes to the same bytes as without a break. The caller removes the file.
//
// Internal, with what to change, where the loss becomes non-finite; the network then holds the best parameters so far.
absl::StatusOr<TrainingResult> TrainNetwork(const v1::Recipe& recipe, const VectorSet& training,
                                            const VectorSet& validation, Network* network,
                                            const ProgressCallback& progress, Checkpoint checkpoint = {},
                                            size_t threads = 1);

}  // namespace astray
