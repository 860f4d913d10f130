// Missing values by self-consistency: what is missing becomes what the network makes of the vector that holds it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/still_wanted.h"
#include "engine/nn/executor.h"

namespace astray {

inline constexpr uint32_t kMaxImputationIterations = 100;
inline constexpr float kImputationTolerance = 1e-3f;  // in scaled units

struct ImputationOutcome {
  uint32_t iterations = 0;  // 0 where nothing is missing
  bool converged = true;    // every missing entry is within kImputationTolerance of its reconstruction
};

// Solves x_j = r(x)_j for the missing entries j of each vector, r being the network's reconstruction held within the
// feature's range in training: from the values they come with, x_j <- (x_j + r(x)_j) / 2 until |r(x)_j - x_j| <=
// kImputationTolerance for all of them or max_iterations are done. The half step damps what would swing; the
// range keeps a guess from running away.
// A vector's outcome does not depend on the vectors beside it. Reuse an object and nothing is allocated.
class Imputer {
 public:
  // low, high: each feature's range in training, [features]; entry j of a vector is of feature j % features. They must
  // outlive the calls of Impute.
  void SetRange(std::span<const float> low, std::span<const float> high);

  // values, observed: [outcomes.size() x width]; observed is 1, or 0 for the entries to fill in. wanted: asked before
  // each iteration; its error is this one's.
  absl::Status Impute(Executor& executor, size_t width, std::span<const float> observed, std::span<float> values,
                      std::span<ImputationOutcome> outcomes, uint32_t max_iterations = kMaxImputationIterations,
                      StillWanted wanted = absl::OkStatus);

 private:
  std::span<const float> low_, high_;
  std::vector<size_t> active_;  // vectors that still move
  std::vector<float> input_, output_;
};

}  // namespace astray
