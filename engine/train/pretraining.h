// Greedy layer-wise pre-training of a stack of denoising autoencoders (Vincent et al. 2010).
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/recipe.pb.h"
#include "engine/nn/network.h"
#include "engine/train/trainer.h"
#include "engine/train/vector_set.h"

namespace astray {

// Trains each encoder layer with the decoder layer that mirrors it, from the lowest up, on the codes of clean vectors
// below it, and leaves the parameters in `network`. `recipe` is complete, has training.pretraining and an `encoder`.
// Returns each layer's best validation loss. Deterministic, as TrainNetwork is. At most kMaxPretrainingVectors vectors
// teach, evenly spread.
absl::StatusOr<std::vector<double>> Pretrain(const astray::v1::Recipe& recipe, const VectorSet& training,
                                             const VectorSet& validation, Network* network,
                                             const ProgressCallback& progress, size_t threads = 1);

inline constexpr size_t kMaxPretrainingVectors = 65536;  // their codes are kept in memory

}  // namespace astray
