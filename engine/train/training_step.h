// One step of training: pick vectors at random, corrupt them, compute the gradient against the clean ones, change the
// network's parameters. Everything is made once; a step allocates nothing of its own. Not thread-safe.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/recipe.pb.h"
#include "engine/base/random.h"
#include "engine/base/thread_team.h"
#include "engine/nn/gradient.h"
#include "engine/nn/network.h"
#include "engine/nn/optimizer.h"
#include "engine/train/corruption.h"
#include "engine/train/training_batch.h"
#include "engine/train/vector_set.h"

namespace astray {

class TrainingStep {
 public:
  // `recipe` is complete; it, `vectors`, `network` and `team`, which may be null, must outlive this. With a team,
  // several threads read `vectors` at once. The same seed gives the same bytes, whatever the team.
  static absl::StatusOr<TrainingStep> Create(const astray::v1::Recipe& recipe, const VectorSet& vectors,
                                             Network* network, ThreadTeam* team);

  // The mean loss of the batch, before the step. Where it is not finite, the parameters stay as they are.
  absl::StatusOr<double> Run();

  // What changes from step to step beside the parameters.
  Random& random() { return random_; }
  Corruptor& corruptor() { return corruptor_; }
  Gradient& gradient() { return *gradient_; }
  Optimizer& optimizer() { return optimizer_; }

 private:
  TrainingStep(const astray::v1::Recipe& recipe, const VectorSet& vectors, Network* network, ThreadTeam* team,
               std::unique_ptr<Gradient> gradient, Optimizer optimizer, Corruptor corruptor);

  const VectorSet* vectors_;
  Network* network_;
  ThreadTeam* team_;
  std::unique_ptr<Gradient> gradient_;
  Optimizer optimizer_;
  Corruptor corruptor_;
  Random random_;
  TrainingBatch batch_;
  std::vector<size_t> picked_;
};

}  // namespace astray
