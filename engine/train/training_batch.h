// Inputs, targets and masks of a fixed number of vectors: what one training step sees. Not thread-safe.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "engine/base/thread_team.h"
#include "engine/nn/aligned_buffer.h"
#include "engine/train/corruption.h"
#include "engine/train/vector_set.h"

namespace astray {

class TrainingBatch {
 public:
  TrainingBatch(size_t vectors, size_t width);

  // Takes the vectors `picked`, at most as many as it holds; slots that are left add nothing to a loss. With a team,
  // several threads read `vectors`.
  void Gather(const VectorSet& vectors, std::span<const size_t> picked, ThreadTeam* team = nullptr);

  // Makes the inputs of what Gather took. Empty slots lend no values to others.
  void Corrupt(Corruptor& corruptor, ThreadTeam* team = nullptr);

  double observed_count() const;
  std::span<const float> input() const { return input_.span(); }    // [vectors x width]
  std::span<const float> target() const { return target_.span(); }  // [vectors x width]
  // [vectors x width] of 0 and 1, or empty where all are 1.
  std::span<const float> observed() const;

 private:
  size_t vectors_, width_, filled_ = 0;
  AlignedBuffer input_, target_, observed_;
  std::vector<size_t> counts_;  // observed values of each slot
};

}  // namespace astray
