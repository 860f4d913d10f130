#include "engine/train/training_step.h"

#include <cmath>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/train/network_recipe.h"
#include "engine/train/random_streams.h"

namespace astray {

absl::StatusOr<TrainingStep> TrainingStep::Create(const v1::Recipe& recipe, const VectorSet& vectors, Network* network,
                                                  ThreadTeam* team) {
  ASSIGN_OR_RETURN(auto gradient, Gradient::Create(*network, recipe.loss(), recipe.training().batch_size(),
                                                   recipe.regularizer(), Random(recipe.seed(), kDropoutStream), team));
  ASSIGN_OR_RETURN(Optimizer optimizer, Optimizer::Create(recipe.training(), network->parameters().size()));
  ASSIGN_OR_RETURN(Corruptor corruptor, Corruptor::Create(recipe.corruption(), TokensOf(recipe, vectors),
                                                          Random(recipe.seed(), kCorruptionStream)));
  return TrainingStep(recipe, vectors, network, team, std::move(gradient), std::move(optimizer), std::move(corruptor));
}

TrainingStep::TrainingStep(const v1::Recipe& recipe, const VectorSet& vectors, Network* network, ThreadTeam* team,
                           std::unique_ptr<Gradient> gradient, Optimizer optimizer, Corruptor corruptor)
    : vectors_(&vectors),
      network_(network),
      team_(team),
      gradient_(std::move(gradient)),
      optimizer_(std::move(optimizer)),
      corruptor_(std::move(corruptor)),
      random_(recipe.seed(), kBatchStream),
      batch_(recipe.training().batch_size(), vectors.width()),
      picked_(recipe.training().batch_size()) {}

absl::StatusOr<double> TrainingStep::Run() {
  for (size_t& i : picked_) i = random_.UniformInt(vectors_->size());
  batch_.Gather(*vectors_, picked_, team_);
  batch_.Corrupt(corruptor_, team_);
  ASSIGN_OR_RETURN(const double loss, gradient_->Compute(batch_.input(), batch_.target(), batch_.observed()));
  if (std::isfinite(loss)) optimizer_.Step(gradient_->gradient(), network_->parameters(), team_);
  return loss;
}

}  // namespace astray
