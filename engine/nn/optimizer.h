// One step of gradient descent over a flat buffer of parameters: SGD with momentum, Adam (Kingma & Ba 2015),
// AdamW (Loshchilov & Hutter 2019); with clipped gradients, warm-up and a schedule. Deterministic; not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/recipe.pb.h"
#include "engine/base/thread_team.h"
#include "engine/nn/aligned_buffer.h"

namespace astray {

class Optimizer {
 public:
  // Reads the recipe's `optimizer`, defaults filled in where unset; InvalidArgument names a field out of range.
  static absl::StatusOr<Optimizer> Create(const astray::v1::TrainingRecipe& recipe, size_t parameter_count);

  // parameters, gradient: `parameter_count` floats each. The state is float32, the bias correction double.
  // The bytes are the same without a team and with one of any size; on every machine, too, where nothing is clipped.
  void Step(std::span<const float> gradient, std::span<float> parameters, ThreadTeam* team = nullptr);

  uint64_t steps() const { return steps_; }
  // The rest of its state, for checkpoints; second_moment is empty for SGD.
  void set_steps(uint64_t steps) { steps_ = steps; }
  std::span<float> first_moment() { return first_moment_.span(); }
  std::span<float> second_moment() { return second_moment_.span(); }
  // Of the next step, over the recipe's learning rate: rises linearly over the first W steps (1/W, 2/W, ... 1), and
  // with COSINE is also (1 + cos(pi t / max_steps)) / 2 after t steps.
  double rate_factor() const;

 private:
  enum class Kind { kSgd, kAdam };
  Optimizer() = default;
  float ClipFactor(std::span<const float> gradient, ThreadTeam* team);
  Kind kind_ = Kind::kAdam;
  double learning_rate_ = 0, momentum_ = 0, beta1_ = 0, beta2_ = 0, epsilon_ = 0, weight_decay_ = 0;
  double clip_norm_ = 0;                          // 0: none
  uint64_t warmup_steps_ = 0, cosine_steps_ = 0;  // 0: none
  uint64_t steps_ = 0;
  AlignedBuffer first_moment_, second_moment_;
  std::vector<double> squares_;  // scratch: a chunk's part of the gradient's length
};

}  // namespace astray
